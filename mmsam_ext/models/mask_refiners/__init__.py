from .point_refiner import PointRefiner

__all__ = ['PointRefiner']
