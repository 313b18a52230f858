from .embedding_cache import EmbeddingCache, check_cacheable
from .fingerprint import encoder_parts, fingerprint, image_digest
from .stores import DiskStore, MemoryStore

__all__ = [
    'DiskStore',
    'EmbeddingCache',
    'MemoryStore',
    'check_cacheable',
    'encoder_parts',
    'fingerprint',
    'image_digest',
]
