from .click_test_loop import ClickTestLoop
from .clicking import ClickSettings, click_image

__all__ = ['ClickSettings', 'ClickTestLoop', 'click_image']
