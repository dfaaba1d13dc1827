"""
Native core of treeward: trees, KV spans, attention, sampling.
"""
from __future__ import annotations
from . import attention
from . import kv
from . import linear
from . import decoder
from . import sampling
from . import tree
from . import search
__all__: list[str] = ['NotFinite', 'PoolExhausted', 'StaleHandle', 'TreewardError', 'attention', 'cuda_compiler', 'decoder', 'kv', 'linear', 'sampling', 'search', 'tree']
class TreewardError(RuntimeError):
    pass
class PoolExhausted(TreewardError):
    pass
class StaleHandle(TreewardError):
    pass
class NotFinite(TreewardError):
    pass
__version__: str = '0.1.0'
cuda_compiler: bool = True
