"""The referee's arithmetic on chain against the plain reference: the same integers, on random and extreme inputs."""

import numpy as np
import pytest
from disputes.stand import called, deploy
from eth_abi import decode
from exact.random_model import FLOATS, SIZES, raw_rows
from hypothesis import given
from hypothesis import strategies as st
from rig.anvil import ROOT, anvil
from web3 import Web3

from oracle.disputes import lanes
from oracle.disputes.commitments import FLOAT_MATRICES
from oracle.engines import sampling
from oracle.engines.exact import operators as ops
from oracle.engines.exact import powers, quants
from oracle.engines.exact.constants import INT32, LARGEST_MANTISSA, LARGEST_RESIDUAL, SHARE_BITS
from oracle.engines.exact.fixed import divide, shift
from oracle.engines.exact.operators import Row
from oracle.engines.exact.weights import largest_float

CASES = 3000
LARGE = {"gas": 1 << 33}
TABLE = powers.table()
KINDS = list(SIZES)


@pytest.fixture(scope="module")
def referee():
    """The harness on a chain, and a contract whose code is the noise table."""
    with anvil() as chain:
        chain.rpc("evm_setAutomine", True)
        contract = deploy(chain.w3(), "RefereeHarness")
        noise = "0x" + "70" * 20
        chain.rpc("anvil_setCode", noise, "0x" + sampling.table().astype(">i4").tobytes().hex())
        contract.noise_table = Web3.to_checksum_address(noise)
        yield contract


def elements(referee, operator: str, *columns) -> np.ndarray:
    """One result for each row of inputs."""
    inputs = np.stack([np.asarray(column, object) for column in columns], axis=1).reshape(-1).tolist()
    name = operator.encode().ljust(32, b"\0")
    return np.array(called(referee, "elements", name, [int(each) for each in inputs], referee.noise_table), object)


def numbers(rng, largest: int, count: int = CASES) -> np.ndarray:
    """Of all magnitudes up to `largest`, and the extremes."""
    magnitudes = np.minimum(2.0 ** rng.uniform(0, np.log2(largest), count), largest).astype(np.int64)
    signed = magnitudes * rng.choice([-1, 1], count)
    signed[:6] = [0, 1, -1, largest, -largest, largest - 1]
    return rng.permutation(signed)


def same(chain: np.ndarray, reference: np.ndarray) -> None:
    wrong = np.flatnonzero(chain != reference.astype(object))
    assert not len(wrong), (int(wrong[0]), chain[wrong[0]], reference[wrong[0]])


@pytest.fixture
def rng():
    return np.random.default_rng(9)


# NUMBERS


def test_shift_and_divide__any__as_the_reference(referee, rng):
    v, s, d = numbers(rng, 2**60), rng.integers(0, 60, CASES), np.abs(numbers(rng, 2**38)) + 1
    same(elements(referee, "shift", v, s), shift(v, s))
    small, left = numbers(rng, 2**30), -rng.integers(0, 30, CASES)
    same(elements(referee, "shift", small, left), shift(small, left))
    same(elements(referee, "divide", v, d), divide(v, d))


def test_quantize__any__as_the_reference(referee, rng):
    x = numbers(rng, 2**47 - 1)
    s = ops.row_shift(x[:, None])
    same(elements(referee, "rowShift", np.abs(x)), s)
    by = s + rng.integers(0, 3, CASES)
    same(elements(referee, "mantissa", x, by), np.clip(shift(x, by), -LARGEST_MANTISSA, LARGEST_MANTISSA))


# LINEAR


@given(st.lists(st.integers(-LARGEST_MANTISSA, LARGEST_MANTISSA), min_size=1, max_size=100))
def test_lanes__any_row__unpack_as_packed(row):
    data = lanes.pack(np.array(row, np.int64))
    assert len(data) == -(-len(row) // 32) * 64
    assert lanes.unpack(data)[: len(row)].tolist() == row


def committed(kind, raw) -> tuple[int, int]:
    """What a matrix's manifest says of its type, and the fraction bits of its weights."""
    bits = quants.matrix_bits(int(kind), largest_float("rows", int(kind), raw))
    return FLOAT_MATRICES[int(kind)] + bits - 24 if int(kind) in FLOAT_MATRICES else int(kind), bits


@pytest.mark.parametrize("kind", KINDS)
def test_dot__random_and_extreme_rows__as_the_reference(referee, rng, kind):
    columns, count = 512, 100
    raw = raw_rows(rng, kind, count, columns, 50.0, zero_rows=False)
    if kind not in FLOATS:
        raw[:20] = rng.choice(np.array([0, 0x7B, 0x7F, 0x80, 0xFB, 0xFF], np.uint8), (20, raw.shape[1]))
        by_block = raw[:20].reshape(20, -1, SIZES[kind][1])
        for at in quants.SCALES_AT[int(kind)]:
            by_block[:, :, at + 1] &= 0xFB  # exponents below infinity
    mantissas = rng.integers(-LARGEST_MANTISSA, LARGEST_MANTISSA + 1, (count, columns))
    mantissas[:10] = rng.choice([-LARGEST_MANTISSA, LARGEST_MANTISSA], (10, columns))
    code, bits = committed(kind, raw)
    wanted = (mantissas.astype(object) * quants.integers(int(kind), raw, bits).astype(object)).sum(axis=1)
    packed = [lanes.pack(row) for row in mantissas]
    got = referee.functions.dots(code, packed, [row.tobytes() for row in raw]).call({"gas": 1 << 33})
    assert got == wanted.tolist()


@pytest.mark.parametrize("columns", [1, 3, 31, 33, 40, 67])
@pytest.mark.parametrize("kind", FLOATS)
def test_dot__row_of_floats_of_any_width__as_the_reference(referee, rng, kind, columns):
    """The last mantissas of a row that fills no word of lanes are read one by one."""
    raw = raw_rows(rng, kind, 5, columns, 50.0, zero_rows=False)
    mantissas = rng.integers(-LARGEST_MANTISSA, LARGEST_MANTISSA + 1, (5, columns))
    code, bits = committed(kind, raw)
    wanted = (mantissas.astype(object) * quants.integers(int(kind), raw, bits).astype(object)).sum(axis=1)
    packed = [lanes.pack(row) for row in mantissas]
    assert referee.functions.dots(code, packed, [row.tobytes() for row in raw]).call(LARGE) == wanted.tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_dot__wrong_lengths__are_refused(referee, rng, kind):
    columns = 256
    row = raw_rows(rng, kind, 1, columns, 1.0, zero_rows=False)[0].tobytes()
    packed = lanes.pack(np.zeros(columns, np.int64))
    code, _ = committed(kind, np.frombuffer(row, np.uint8)[None])
    short = row[:-3] if kind in FLOATS else row[:-1]
    for bad in ((packed, short), (packed[:-64], row), (packed + bytes(64), row), (packed[:-1], row)):
        with pytest.raises(Exception, match="0x"):
            referee.functions.dot(code, *bad).call()


def test_dot__unknown_type__is_refused(referee):
    with pytest.raises(Exception, match="0x"):
        referee.functions.dot(9, b"", b"").call()


@pytest.mark.parametrize("kind", KINDS)
def test_weight__each_of_a_row__is_the_reference_s(referee, rng, kind):
    columns = 512
    raw = raw_rows(rng, kind, 3, columns, 50.0, zero_rows=False)
    code, bits = committed(kind, raw)
    for row, wanted in zip(raw, quants.integers(int(kind), raw, bits), strict=True):
        assert referee.functions.weights(code, row.tobytes(), columns).call(LARGE) == wanted.tolist()


@pytest.mark.parametrize("bits", [18, 24])
def test_fixed_point__vector_of_floats__rounds_as_the_reference(referee, rng, bits):
    values = rng.standard_normal(CASES).astype(np.float32) * 2.0 ** rng.uniform(-40, 6, CASES).astype(np.float32)
    values[:6] = [0, -0.0, 0.5 / 2**bits, -0.5 / 2**bits, 1.5 / 2**bits, np.float32(1e-45)]
    for kind, vector in ((0, values.astype("<f4")), (1, values.astype("<f2"))):
        wanted = np.floor(vector.astype(np.float64) * 2.0**bits + 0.5).astype(np.int64)
        got = referee.functions.fixedPoints(kind, vector.tobytes(), CASES, bits).call(LARGE)
        assert got == wanted.tolist()


def test_product__any_rows__is_exact(referee, rng):
    x, y = rng.integers(-LARGEST_MANTISSA, LARGEST_MANTISSA + 1, (2, 96))
    assert referee.functions.product(lanes.pack(x), lanes.pack(y)).call() == int(x @ y)
    with pytest.raises(Exception, match="0x"):
        referee.functions.product(lanes.pack(x), lanes.pack(y)[:64]).call()


def test_linear_and_embed__any__as_the_reference(referee, rng):
    total, bias = numbers(rng, 2**62), numbers(rng, 2**31 - 1)
    s, bits, to_bits = rng.integers(0, 17, CASES), rng.choice([18, 20, 24], CASES), rng.choice([16, 18], CASES)
    down = 24 + bits - s - to_bits
    for most in (INT32, LARGEST_RESIDUAL):
        wanted = np.clip(shift(total, down) + bias, -most, most)
        same(elements(referee, "linear", total, down, bias, [most] * CASES), wanted)
    w = numbers(rng, 2**47)
    for more in (24, 41):
        same(elements(referee, "embed", w, [more] * CASES), ops.embed(w, more))
    w = numbers(rng, 2**31 - 1)
    for width in (1, 640, 1152, 16_384):
        scaled = ops.embed_scaled(w, ops.embedding_scale(width))
        same(elements(referee, "embedScaled", w, [24] * CASES, [width] * CASES), scaled)


# NORM


def test_norm__any_row__as_the_reference(referee, rng):
    width = 64
    x = numbers(rng, INT32, 60 * width).reshape(60, width)
    x[45:] = numbers(rng, LARGEST_RESIDUAL, 15 * width).reshape(15, width)
    x[:15] >>= 24  # rows next to zero
    epsilon = rng.choice([1, 42_950, 2**47], 60)
    row = ops.quantize(x)
    squares = ops.square_sum(row)
    packed = [lanes.pack(each) for each in row.mantissa[:40]]
    assert [referee.functions.product(each, each).call() for each in packed] == squares[:40].tolist()
    roots = np.array(
        [ops.mean_root(squares[i : i + 1], row.shift[i : i + 1], width, int(epsilon[i]))[0] for i in range(60)]
    )
    same(elements(referee, "meanRoot", squares, row.shift, [width] * 60, epsilon), roots)
    live = roots >= 1
    weight = numbers(rng, INT32, width)
    wanted = ops.normalize(x[live], roots[live], row.shift[live], weight, 20, LARGEST_RESIDUAL, 20)
    repeated = [np.repeat(each[live], width) for each in (roots, row.shift)]
    count = int(live.sum())
    got = elements(referee, "normalize", x[live].reshape(-1), *repeated, np.tile(weight, count), [24] * (count * width),
                   [LARGEST_RESIDUAL] * (count * width))  # fmt: skip
    same(got, wanted.reshape(-1))


# ATTENTION


def test_rotate__any_pair__as_the_reference(referee, rng):
    a, b = numbers(rng, INT32), numbers(rng, INT32)
    angle = rng.uniform(0, 7, CASES)
    c, s = np.rint(np.cos(angle) * 2**24).astype(np.int64), np.rint(np.sin(angle) * 2**24).astype(np.int64)
    wanted = ops.rotate(np.stack([a, b], axis=1)[:, None], c[:, None], s[:, None], interleaved=True)[:, 0]
    same(elements(referee, "rotate", a, b, c, s), wanted[:, 0].astype(object) * 2**64 + wanted[:, 1])


def test_score__any__as_the_reference(referee, rng):
    head, scale = 128, ops.score_scale(128)
    m, n = rng.integers(-LARGEST_MANTISSA, LARGEST_MANTISSA + 1, (2, 60, head))
    s_q, s_k = rng.integers(0, 17, (2, 60))
    wanted = ops.scores(Row(m, s_q), Row(n, s_k), scale)
    dots = (m @ n.T).reshape(-1)
    got = elements(referee, "score", dots, [scale] * 3600, np.repeat(s_q, 60), np.tile(s_k, 60))
    same(got, wanted.reshape(-1))


def test_power_and_share__any__as_the_reference(referee, rng):
    t = np.concatenate([np.abs(numbers(rng, 2**33, 2000)), np.arange(1000)])
    same(elements(referee, "power", t, [30] * CASES), powers.power(t, TABLE, 30))
    most = numbers(rng, INT32)
    z = np.maximum(most - np.abs(numbers(rng, 2**22)), -INT32)
    same(elements(referee, "share", z, most), ops.shares(z[:, None], most, TABLE)[:, 0])


@pytest.mark.parametrize("length", [1, 7, 512])
def test_softmax__any_row__as_the_reference(referee, rng, length):
    z = rng.integers(-(2**20), 2**20, (5, length))
    z[0] = 77  # all equal
    values = rng.integers(-(2**25) + 1, 2**25, (length, 5))
    most = z.max(axis=-1)
    e = ops.shares(z, most, TABLE)
    total = e.sum(axis=-1)
    o = ops.context(e, total, values)
    for i in range(5):
        row = z[i].astype(">i4").tobytes()
        assert referee.functions.largest(row).call() == most[i]
        shares, column = e[i].astype(">i4").tobytes(), values[:, i].astype(">i4").tobytes()
        assert referee.functions.total(shares).call() == total[i]
        assert referee.functions.context(shares, column, int(total[i])).call() == o[i, i]
    assert (e.max(axis=-1) == 1 << SHARE_BITS).all()


# FEED FORWARD


def test_gated_and_add__any__as_the_reference(referee, rng):
    gate, up = numbers(rng, INT32), numbers(rng, INT32)
    same(elements(referee, "gated", gate, up), ops.gated(gate, up, TABLE))
    same(elements(referee, "add", gate, up), ops.add(gate, up))


def test_gelu__any__as_the_reference(referee, rng):
    gate, up = numbers(rng, INT32), numbers(rng, INT32)
    gate[::3] >>= 9  # around 8, where it bends
    same(elements(referee, "gelu", gate, up), ops.gated_gelu(gate, up, TABLE))


# SAMPLING


def test_noise__any_draw__as_the_reference(referee, rng):
    draws = np.concatenate([rng.integers(0, 2**32, 2900), [0, 1, 2**31 - 1, 2**31, 2**32 - 1], 2 ** np.arange(32)])
    same(elements(referee, "noise", draws), sampling.gumbel(draws))


def test_candidate__sampled_token__is_the_reference_s(referee, rng):
    seed, position, tokens = b"\x5e" * 32, 7, np.arange(400)
    temperature = 45_000
    logits = rng.integers(-(2**20), 2**20, 400)
    noise = sampling.noise(seed, position, tokens)
    drawn = elements(
        referee, "draw", [int.from_bytes(seed, "big") - 2**256 * (seed[0] >> 7)] * 400, [position] * 400, tokens
    )
    same(elements(referee, "noise", drawn), noise)
    inverse = sampling.inverse_temperature(temperature)
    assert elements(referee, "inverseTemperature", [temperature])[0] == inverse
    same(elements(referee, "candidate", logits, [inverse] * 400, noise), logits * inverse + (noise << 8))


def test_table__in_the_contract__is_the_reference_s():
    source = (ROOT / "contracts" / "disputes" / "referee" / "Powers.sol").read_text()
    entries = bytes.fromhex("".join(part.split('"')[0] for part in source.split('hex"')[1:]))
    assert entries == TABLE.astype(">u4").tobytes()
    assert decode(["uint32"], bytes(28) + entries[-4:])[0] == 1 << 29
