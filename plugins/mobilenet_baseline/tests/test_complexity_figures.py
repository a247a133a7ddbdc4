"""The sizes that the papers state, for a clip of ten seconds and 527 classes."""

import pytest

from audiotag import create_backbone
from audiotag.models.complexity import measure_complexity
from audiotag.plugin import get_host


def places(figure):
    return len(str(figure).partition(".")[2])


@pytest.mark.parametrize(
    "name",
    [
        "mn04_as",
        "mn05_as",
        "mn10_as",
        "mn20_as",
        pytest.param("mn30_as", marks=pytest.mark.slow),
        pytest.param("mn40_as", marks=pytest.mark.slow),
        "dymn04_as",
        "dymn10_as",
        pytest.param("dymn20_as", marks=pytest.mark.slow),
    ],
)
def test_size_and_cost_are_the_published_ones(name):
    spec = get_host().backbone(name)
    found = measure_complexity(create_backbone(name))
    parameters = found.parameters
    if spec.family == "dymn":
        parameters += found.running_statistics  # the paper counts them too
    published = spec.figures["parameters (M)"]
    # mn04 is published as .983, cut off rather than rounded.
    assert published in (
        round(parameters / 1e6, places(published)),
        int(parameters / 10 ** (6 - places(published))) / 10 ** places(published),
    )
    macs = spec.figures["GMAC for 10 s"]
    assert round(found.macs / 1e9, places(macs)) == macs


def test_slices_save_memory_where_blocks_have_no_attention():
    found = measure_complexity(create_backbone("mn10_as"))
    # Plain: the first expansion, 16 + 64 channels of 64 × 500. Sliced: the block before it, 16 in, 16 out, 16 / 8.
    assert found.peak_memory == 2 * (16 + 64) * 64 * 500
    assert found.sliced_peak_memory == 2 * (16 + 16 + 2) * 64 * 500
    dynamic = measure_complexity(create_backbone("dymn04_as"))
    assert dynamic.sliced_peak_memory == dynamic.peak_memory
