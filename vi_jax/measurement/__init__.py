"""Measurement: streamed moments over replicates, and what they say about a gradient's noise, with intervals."""

from vi_jax.measurement.evidence import Evidence as Evidence
from vi_jax.measurement.evidence import log_evidence as log_evidence
from vi_jax.measurement.jackknife import Estimate as Estimate
from vi_jax.measurement.moments import Moments as Moments
from vi_jax.measurement.moments import pool as pool
from vi_jax.measurement.moments import replicate_moments as replicate_moments
from vi_jax.measurement.moments import select as select
from vi_jax.measurement.snr import coordinate_snr as coordinate_snr
from vi_jax.measurement.snr import coordinate_snr_floor as coordinate_snr_floor
from vi_jax.measurement.snr import gradient_snr as gradient_snr
from vi_jax.measurement.snr import gradient_variance as gradient_variance
from vi_jax.measurement.snr import mean_value as mean_value
from vi_jax.measurement.snr import signal_to_noise as signal_to_noise
from vi_jax.measurement.snr import total_variance as total_variance
