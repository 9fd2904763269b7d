"""Finding checks, and binding an operator's options to them."""

from __future__ import annotations

import pytest

from forebay.checks import NoCheck, load_checks
from forebay.compute.checks import FactorialCheck, MatMulCheck
from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import OutOfRange

FACTORIAL = "forebay.compute.v1.ComputeService.Factorial"
MAT_MUL = "forebay.compute.v1.ComputeService.MatMul"


def test_the_installed_checks_are_found_by_their_methods() -> None:
    checks = load_checks({})
    assert isinstance(checks[FACTORIAL](), FactorialCheck)
    assert isinstance(checks[MAT_MUL](), MatMulCheck)


def test_every_call_has_a_check_of_its_own() -> None:
    make = load_checks({})[MAT_MUL]
    assert make() is not make()


def test_options_go_to_the_check_that_they_name() -> None:
    check = load_checks({FACTORIAL: {"max_n": 5}})[FACTORIAL]()
    check.feed(pb.FactorialRequest(n=5))
    with pytest.raises(OutOfRange):
        check.feed(pb.FactorialRequest(n=6))


def test_an_unknown_option_is_refused_with_method_and_name() -> None:
    with pytest.raises(ValueError, match=r"Factorial.*max_m"):
        load_checks({FACTORIAL: {"max_m": 5}})


@pytest.mark.parametrize("value", ["x", -1, 1.5, None, True])
def test_invalid_options_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"ComputeService\.Factorial.*expected a whole number"):
        load_checks({FACTORIAL: {"max_n": value}})


def test_options_of_a_method_without_a_check_are_refused_with_those_that_have_one() -> None:
    with pytest.raises(ValueError, match=r"'no\.such\.Method'.*ComputeService\.Factorial"):
        load_checks({"no.such.Method": {}})


def test_no_check_lets_everything_pass() -> None:
    check = NoCheck()
    check.end()
    check.feed(pb.AddRequest())
    check.feed(pb.AddRequest())
    check.end()
