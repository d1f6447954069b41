"""The Merkle tree: published roots, and every proof of every small tree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.rules.tree import (
    EMPTY_ROOT,
    Frontier,
    ProofBrokenError,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)

# the inputs and roots that Certificate Transparency implementations test themselves with
INPUTS = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(str(number).encode()) for number in range(33)]


def test_published_roots() -> None:
    leaves = [leaf_hash(bytes.fromhex(each)) for each in INPUTS]
    frontier = Frontier()
    for size, root in enumerate(ROOTS, start=1):
        frontier.append(leaves[size - 1])
        assert root_of(leaves[:size]).hex() == frontier.root().hex() == root


def test_the_empty_tree() -> None:
    assert Frontier().root() == root_of([]) == EMPTY_ROOT
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_node_cannot_pass_for_a_leaf() -> None:
    left, right = LEAVES[:2]
    assert node_hash(left, right) != leaf_hash(left + right)


@given(st.integers(0, 300), st.integers(0, 300))
def test_a_frontier_goes_on_where_it_was_kept(first: int, second: int) -> None:
    leaves = [leaf_hash(str(number).encode()) for number in range(first + second)]
    frontier = Frontier()
    for leaf in leaves[:first]:
        frontier.append(leaf)
    resumed = Frontier(frontier.size, frontier.hashes)
    for leaf in leaves[first:]:
        resumed.append(leaf)
    assert resumed.size == first + second
    assert resumed.root() == root_of(leaves)


@pytest.mark.parametrize(("size", "hashes"), [(-1, ()), (1, ()), (2, (b"x" * 32, b"y" * 32)), (1, (b"short",))])
def test_a_frontier_that_cannot_be_is_refused(size: int, hashes: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="set bit"):
        Frontier(size, hashes)


@pytest.mark.parametrize("size", range(1, 33))
def test_every_leaf_is_proven_to_be_where_it_is_and_nowhere_else(size: int) -> None:
    leaves = LEAVES[:size]
    root = root_of(leaves)
    for index in range(size):
        proof = inclusion_proof(leaves, index)
        verify_inclusion(leaves[index], index, size, proof, root)
        for wrong in {index - 1, index + 1, size}:
            with pytest.raises(ProofBrokenError):
                verify_inclusion(leaves[index], wrong, size, proof, root)
        with pytest.raises(ProofBrokenError):
            verify_inclusion(LEAVES[32], index, size, proof, root)
        with pytest.raises(ProofBrokenError):
            verify_inclusion(leaves[index], index, size, [*proof, root], root)


@pytest.mark.parametrize("size", range(1, 33))
def test_every_earlier_tree_is_proven_a_prefix(size: int) -> None:
    leaves = LEAVES[:size]
    for old in range(1, size + 1):
        proof = consistency_proof(leaves, old)
        verify_consistency(old, root_of(leaves[:old]), size, root_of(leaves), proof)
        with pytest.raises(ProofBrokenError):
            verify_consistency(old, LEAVES[32], size, root_of(leaves), proof)
        with pytest.raises(ProofBrokenError):
            verify_consistency(old, root_of(leaves[:old]), size, LEAVES[32], proof)


@given(st.data())
def test_no_changed_step_proves_anything(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 32))
    index = data.draw(st.integers(0, size - 1))
    leaves = LEAVES[:size]
    proof = inclusion_proof(leaves, index)
    step = data.draw(st.integers(0, len(proof) - 1))
    proof[step] = leaf_hash(proof[step])
    with pytest.raises(ProofBrokenError):
        verify_inclusion(leaves[index], index, size, proof, root_of(leaves))


def test_a_cut_proof_and_impossible_sizes_prove_nothing() -> None:
    leaves = LEAVES[:7]
    root = root_of(leaves)
    with pytest.raises(ProofBrokenError):
        verify_inclusion(leaves[3], 3, 7, inclusion_proof(leaves, 3)[:-1], root)
    with pytest.raises(ProofBrokenError):
        verify_consistency(3, root_of(leaves[:3]), 7, root, consistency_proof(leaves, 3)[:-1])
    with pytest.raises(ProofBrokenError):
        verify_consistency(3, root_of(leaves[:3]), 7, root, [*consistency_proof(leaves, 3), root])
    for old in (0, 8):
        with pytest.raises(ProofBrokenError):
            verify_consistency(old, EMPTY_ROOT, 7, root, [])
    with pytest.raises(ProofBrokenError):
        verify_consistency(6, root, 7, root, [])
    with pytest.raises(ProofBrokenError):
        verify_consistency(7, root, 7, root, [root])


def test_asking_for_a_proof_outside_the_tree_is_an_error() -> None:
    with pytest.raises(ValueError, match="no such leaf"):
        inclusion_proof(LEAVES, len(LEAVES))
    with pytest.raises(ValueError, match="no such earlier tree"):
        consistency_proof(LEAVES, 0)
