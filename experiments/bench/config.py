"""What is measured, and how often."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    """What is measured, and how often.

    Attributes:
      seed: of parameters, data, draws and the order of the timed runs.
      cases: only cases whose name matches one of these patterns, as 'W2*' or '*iwae K=50'.
      programs: of each case, the reference and the programs whose name matches one of these, as 'DReG*'; DReG/10 is
        DReG in chunks of 10.
      samples: only cases with these K or S; all if none is given.
      arithmetic: float32, tensorfloat32, bfloat16 or float64; what suits the device if none is given.
      num_runs: timed runs of each program.
      matmul_size: n of the square matrix product that is timed beside every case; 0 takes what suits the device.
      num_steps: training steps in one call of a regression case.
      regression_samples: S, draws per step of the regression.
      num_fits: regressions fitted at once by the case of many fits, at the middle S.
      elbo_samples: K, draws per image of an autoencoder's ELBO gradient.
      iwae_samples: K of its IWAE gradient.
      batch_size: B, images.
      chunk_size: where K is larger, gradients are also computed in chunks of so many draws.
      largest_whole: where K is larger, the library's gradients are computed in chunks alone.
      long_samples: K of a gradient of one image in chunks.
      long_chunk_size: of it.
      evidence_samples: K of the log-evidence.
      evidence_batch_size: B of the log-evidence.
      sweep_samples: K of a whole sweep.
      sweep_replicates: R of it.
      num_looped: of these, how many one run of the loop does that stands beside it.
    """

    seed: int = 0
    cases: tuple[str, ...] = ("*",)
    programs: tuple[str, ...] = ("*",)
    samples: tuple[int, ...] = ()
    arithmetic: tuple[str, ...] = ()
    num_runs: int = 32
    matmul_size: int = 0
    num_steps: int = 100
    regression_samples: tuple[int, ...] = (1, 10, 100)
    num_fits: int = 32
    elbo_samples: tuple[int, ...] = (1, 5, 50)
    iwae_samples: tuple[int, ...] = (1, 5, 50, 500)
    batch_size: int = 100
    chunk_size: int = 10
    largest_whole: int = 50
    long_samples: tuple[int, ...] = (512, 32_768)
    long_chunk_size: int = 512
    evidence_samples: int = 5000
    evidence_batch_size: int = 100
    sweep_samples: tuple[int, ...] = tuple(2**i for i in range(11))
    sweep_replicates: int = 1000
    num_looped: int = 10


QUICK = Config(
    programs=("pathwise*", "DReG", "log_evidence", "vi.sweep*"),
    num_runs=10,
    regression_samples=(10,),
    num_fits=8,
    elbo_samples=(),
    iwae_samples=(5,),
    long_samples=(2048,),
    evidence_batch_size=5,
    sweep_samples=(16,),
    sweep_replicates=40,
    num_looped=2,
)
