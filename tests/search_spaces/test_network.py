"""Networks: arithmetic by hand, and text that is checked when read."""

import pytest

from search_spaces import ArchitectureError, Network, NetworkBuilder, make_divisible


def tiny() -> Network:
    b = NetworkBuilder("tiny", in_channels=3, size=8)
    x = b.conv("stem", b.image, 16, kernel=3, stride=2, activation="relu")
    x = b.mbconv("block", x, 16, hidden=32, kernel=5, se_hidden=8, activation="hswish")
    b.linear("classifier", b.global_pool("pool", x), 10)
    return b.build()


def test_counts_by_hand():
    network = tiny()
    stem = 3 * 16 * 9
    expand, depthwise, project = 16 * 32, 32 * 25, 32 * 16
    se = 32 * 8 * 2
    assert network.macs == 16 * (stem + expand + depthwise + project) + se + 160
    norms = 2 * (16 + 32 + 32 + 16)
    assert network.params == stem + expand + depthwise + project + norms + se + 8 + 32 + 160 + 10
    folded = norms // 2
    assert network.weight_bytes == 4 * (network.params - norms + folded)


def test_peak_memory_keeps_the_residual_alive():
    # while squeeze-excite multiplies: block input (kept for the residual) + map + gate + product
    assert tiny().peak_memory == 4 * (16 * 16 + 32 * 16 + 32 + 32 * 16)


def test_kernels_name_everything_that_decides_time():
    assert tiny().kernels == (
        "conv_i3_o16_k3_s2_h8_relu",
        "conv_i16_o32_k1_s1_h4_hswish",
        "dw_i32_o32_k5_s1_h4_hswish",
        "globalpool_c32_h4",
        "conv_i32_o8_k1_s1_h1_relu",
        "conv_i8_o32_k1_s1_h1_hsigmoid",
        "scale_c32_h4",
        "conv_i32_o16_k1_s1_h4_add_none",
        "globalpool_c16_h4",
        "linear_i16_o10_none",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin like"),
        ("net@3x8: conv(a;0;in_channels=3)", "lacks"),
        ("net@3x8: blur(a;0;size=3)", "is no operator"),
        ("net@3x8: globalpool(a;0;channels=4,size=8)", "expects 4 channels"),
        ("net@3x8: globalpool(a;1;channels=3,size=8)", "only 0..0 exist"),
        ("net@3x8: globalpool(a;0;channels=x,size=8)", "whole number"),
        ("net@3x8: conv(a;0;in_channels=3,out_channels=4,size=8,activation=tanh)", "activation"),
        ("net@3x8: conv(a;0;in_channels=3,out_channels=4,size=8,groups=0)", "a"),
        ("net@3x8: globalpool(a;0;channels=3,size=8) globalpool(a;1;channels=3,size=1)", "twice"),
    ],
)
def test_malformed_text_says_what_is_wrong(text, message):
    with pytest.raises(ArchitectureError, match=message):
        Network.parse(text)


def test_residual_must_fit():
    b = NetworkBuilder("bad", in_channels=3, size=8)
    with pytest.raises(ArchitectureError, match="residual"):
        b.conv("a", b.image, 16, residual=b.image)


@pytest.mark.parametrize(("value", "expected"), [(1, 8), (11, 16), (12, 16), (20, 24), (19.2, 24), (134.4, 136)])
def test_make_divisible(value, expected):
    assert make_divisible(value) == expected
