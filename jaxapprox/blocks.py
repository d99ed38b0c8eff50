"""Blocks of arrays: read, differentiated in and written, without touching what lies outside of them."""

from jaxapprox._src.blockwise.blocks import EVERYTHING, Block, Where, add, is_block, put, take, vjp

__all__ = ["EVERYTHING", "Block", "Where", "add", "is_block", "put", "take", "vjp"]
