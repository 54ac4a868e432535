"""Data sets, each with a checksum and a named protocol."""

from vi_jax.data.digits import DigitsSplit as DigitsSplit
from vi_jax.data.digits import binarize as binarize
from vi_jax.data.digits import digits as digits
from vi_jax.data.digits import digits_split as digits_split
