"""The formulas of the plan are the collectives of the compiled programs."""

import subprocess
import sys

import pytest

from experiments.collectives import Collective, by_kind, collectives, sent, size_of

PROGRAM = """
import jax
jax.config.update("jax_num_cpu_devices", 8)
from experiments import scale

config = scale.Config(sizes=(4,))
jobs = scale.jobs_of(config)
for job in jobs:
    assert scale.by_kind(job.compiled) == scale.by_kind(job.expected(8)), (job.compiled, job.expected(8))
    assert 0 <= job.written - job.checkpoint(8) < 20_000, (job.written, job.checkpoint(8))
    print(job.name)
# A product of matrices forward and two backward: the decoder's for every draw, the encoder's for every datum.
weights = [784 * 200 + 200 * 200 + 200 * latent for latent in (50, 2 * 50)]
counted = 6 * (weights[0] + weights[1] / config.samples)
assert 1 < jobs[0].flops_per_draw / counted < 1.05, (jobs[0].flops_per_draw, counted)
# The same share for each device: with more of them, fewer steps and the same compute.
few, many = (scale.plan_of(scale.Config(devices=n), jobs[0]) for n in (8, 16))
assert few["compute, s"] == many["compute, s"] and few["steps in all"] == 2 * many["steps in all"]
assert many["efficiency"] < few["efficiency"] < 1
"""


def test_collectives_and_checkpoints_of_compiled_programs_are_those_of_the_formulas():
    result = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.splitlines() == ["IWAE, data divided", "IWAE, draws divided", "sweep of the toy"]


HLO = """
  %all_gather.6 = f32[5,10]{1,0} all-gather(%fusion), channel_id=1, replica_groups={{0},{1}}, dimensions={0}
  %ar.3 = (f32[20]{0}, /*index=1*/bf16[5,20]{1,0}) all-reduce(%a, %b), replica_groups={{0,1},{2,3}}, to_apply=%region
  ROOT %ar.1 = s32[] all-reduce(%c), replica_groups=mesh['axis_0'=2,'axis_1'=4] {'axis_1'}, to_apply=%region
  %ag = f64[8,3]{1,0} all-gather(%d), replica_groups=[4,2]<=[8], dimensions={0}
  %fusion = f32[5] fusion(%all-gather.2), kind=kLoop
"""


def test_every_way_to_write_a_collective_is_read():
    found = collectives(HLO)
    assert found == [("all-reduce", 280, 2), ("all-reduce", 4, 4), ("all-gather", 192, 2)]
    assert by_kind([*found, Collective("all-reduce", 20, 2)])[1] == ("all-reduce", 300, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [("%a = f9[2] all-reduce(%b), replica_groups={{0,1}}", "f9"), ("%a = f32[2] all-reduce(%b), x", "replica groups")],
)
def test_what_cannot_be_read_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        collectives(text)


def test_a_ring_sends_all_but_one_part_once_or_twice():
    assert sent(Collective("all-gather", 800, 8)) == 700
    assert sent(Collective("all-reduce", 800, 8)) == 1400
    assert size_of("(f32[8,2]{1,0}, pred[])") == 65
