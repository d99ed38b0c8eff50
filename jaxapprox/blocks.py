"""Blocks of arrays: read, differentiated in and written, without touching what lies outside of them.

`Where` says which rows and columns of an array a block is, and a `Block` holds values for it: a gradient, or an update.
"""

from jaxapprox._src.blockwise.blocks import EVERYTHING, Block, Where, add, add_up, is_block, put, take, vjp

__all__ = ["EVERYTHING", "Block", "Where", "add", "add_up", "is_block", "put", "take", "vjp"]
