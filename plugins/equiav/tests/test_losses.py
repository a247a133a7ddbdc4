from __future__ import annotations

import math

import pytest
import torch
from audiotag_equiav.losses import InfoNCE, NTXent

from audiotag.plugin import OptionError, get_host


def views(count: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 8, generator=generator), torch.randn(count, 8, generator=generator)


def cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    return float(torch.dot(first, second) / first.norm() / second.norm())


def test_infonce_is_the_mean_of_both_directions() -> None:
    first, second = views()
    losses = InfoNCE(0.2)(first, second)
    for row in range(5):
        own = cosine(first[row], second[row]) / 0.2
        there = math.log(sum(math.exp(cosine(first[row], other) / 0.2) for other in second)) - own
        back = math.log(sum(math.exp(cosine(second[row], other) / 0.2) for other in first)) - own
        assert float(losses[row]) == pytest.approx((there + back) / 2, rel=1e-4)


def test_ntxent_has_everything_but_the_embedding_itself_against_it() -> None:
    first, second = views()
    losses = NTXent(0.5)(first, second)
    everything = [*first, *second]
    for row in range(5):
        total = 0.0
        for place, partner in ((row, row + 5), (row + 5, row)):
            others = [cosine(everything[place], one) / 0.5 for at, one in enumerate(everything) if at != place]
            total += math.log(sum(map(math.exp, others))) - cosine(everything[place], everything[partner]) / 0.5
        assert float(losses[row]) == pytest.approx(total / 2, rel=1e-4)


@pytest.mark.parametrize("kind", [InfoNCE, NTXent])
def test_pairs_that_agree_cost_less(kind: type[InfoNCE] | type[NTXent]) -> None:
    first, second = views()
    assert float(kind()(first, first * 3).mean()) < float(kind()(first, second).mean())
    assert kind()(first, second).shape == (5,)


def test_they_are_registered_as_losses_between_embeddings() -> None:
    host = get_host()
    for name in ("infonce", "ntxent"):
        spec = host.loss(name)
        assert spec.task == "embedding"
        assert host.resolve(spec)(temperature=0.1).temperature == 0.1


def test_a_temperature_of_zero_is_refused() -> None:
    with pytest.raises(OptionError):
        InfoNCE(0.0)
