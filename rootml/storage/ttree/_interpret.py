"""From branches and leaves to column types, for the types that need no streamer information.

The rules are uproot's (``uproot.interpretation.identify``), restricted to plain numbers; the tests
compare both on every branch of real files. What is not decided here is left to uproot.
"""

from __future__ import annotations

import re

import numpy as np

from rootml.storage._base import ColumnType
from rootml.storage.ttree._baskets import Storage
from rootml.storage.ttree._branches import Branch, Leaf

_LEAVES = {
    "TLeafO": ("?", "?"),
    "TLeafB": ("i1", "u1"),
    "TLeafS": (">i2", ">u2"),
    "TLeafI": (">i4", ">u4"),
    "TLeafG": (">i8", ">u8"),
    "TLeafL": (">i8", ">u8"),
    "TLeafF": (">f4", ">f4"),
    "TLeafD": (">f8", ">f8"),
}
# TVirtualStreamerInfo::EReadWrite; +20 are arrays of fixed length (kOffsetL)
_CODES = {
    1: "i1", 2: ">i2", 3: ">i4", 4: ">i8", 5: ">f4", 6: ">u4", 8: ">f8", 11: "u1", 12: ">u2",
    13: ">u4", 14: ">u8", 15: ">u4", 16: ">i8", 17: ">u8", 18: "?",
}  # fmt: skip
_BITS = 15  # kBits: TObject::fBits
_ARRAY = 20
_POINTER = 40

_ELEMENTS = {
    "bool": "?", "Bool_t": "?", "char": "i1", "Char_t": "i1", "signed char": "i1",
    "unsigned char": "u1", "UChar_t": "u1", "short": ">i2", "Short_t": ">i2",
    "unsigned short": ">u2", "UShort_t": ">u2", "int": ">i4", "Int_t": ">i4",
    "unsigned int": ">u4", "UInt_t": ">u4", "long": ">i8", "Long_t": ">i8", "long long": ">i8",
    "Long64_t": ">i8", "unsigned long": ">u8", "ULong_t": ">u8", "unsigned long long": ">u8",
    "ULong64_t": ">u8", "float": ">f4", "Float_t": ">f4", "double": ">f8", "Double_t": ">f8",
}  # fmt: skip
_VECTOR = re.compile(r"(?:std::)?vector<(?P<inner>.*?)(?:, ?allocator<.*>)? ?>|.*::RVec<(.*)>")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_VECTOR_HEADER = 10


def _shape(leaf: Leaf) -> tuple[int, ...]:
    """Fixed dimensions of a leaf, from its title: ``"x[n][3]"`` has (3,)."""
    inside = _BRACKETS.findall(leaf.title)
    sizes = [text for text in inside if re.fullmatch(r"[1-9]\d*", text)]
    if not sizes and inside and leaf.length > 1:
        return (leaf.length,)
    return tuple(int(text) for text in sizes)


def _leaf_dtype(leaf: Leaf) -> str | None:
    if leaf.classname in _LEAVES:
        return _LEAVES[leaf.classname][leaf.unsigned]
    if leaf.classname == "TLeafElement":
        code = leaf.type_code
        return _CODES.get(code - _ARRAY if _ARRAY < code < _POINTER else code)
    return None


def _vector(type_name: str) -> tuple[str | None, int]:
    """Element type and depth of nested vectors of numbers; None for anything else."""
    depth = 0
    while match := _VECTOR.fullmatch(type_name):
        type_name, depth = (match[1] or match[2]).strip(), depth + 1
    return _ELEMENTS.get(type_name), depth


def storage_of(branch: Branch) -> Storage | None:
    """How the values lie in the baskets; None: uproot has to interpret this branch."""
    if "storage" not in branch.facts:
        branch.facts["storage"] = _storage_of(branch)
    found: Storage | None = branch.facts["storage"]
    return found


def _storage_of(branch: Branch) -> Storage | None:
    if branch.children or len(branch.leaves) != 1 or branch.file_name:
        return None
    leaf = branch.leaves[0]
    dtype = _leaf_dtype(leaf)
    if dtype is not None and branch.classname in {"TBranch", "TBranchElement"}:
        shape, bits = _shape(leaf), leaf.type_code == _BITS
        if leaf.counter and shape:
            return None
        return Storage(np.dtype(dtype), shape, bool(leaf.counter), 0, leaf.counter, bits)
    if branch.classname == "TBranchElement" and branch.top:
        element, depth = _vector(branch.type_name)
        if element is not None and depth == 1:
            return Storage(np.dtype(element), (), True, _VECTOR_HEADER)
    return None


def _text(branch: Branch, storage: Storage) -> str:
    if branch.type_name and not branch.leaves[0].type_code >= 0:
        return branch.type_name
    inner = "".join(f"[{size}]" for size in storage.shape)
    return f"{storage.native.name}{'[]' * storage.jagged}{inner}"


def type_of_branch(branch: Branch) -> ColumnType | None:
    """`ColumnType` of a branch that can be known without uproot, else None."""
    if "type" not in branch.facts:
        branch.facts["type"] = _type_of(branch)
    found: ColumnType | None = branch.facts["type"]
    return found


def _type_of(branch: Branch) -> ColumnType | None:
    storage = storage_of(branch)
    if storage is not None:
        text = _text(branch, storage)
        if storage.jagged:
            return ColumnType("jagged", storage.native, depth=1, text=text)
        kind = ColumnType("fixed" if storage.shape else "scalar", storage.native, storage.shape)
        return ColumnType(kind.kind, kind.dtype, kind.shape, text=text)
    if branch.children or len(branch.leaves) != 1 or branch.file_name:
        return None
    if branch.leaves[0].classname == "TLeafC":
        return ColumnType("string", text="char*")
    if branch.classname != "TBranchElement" or not branch.top:
        return None
    if branch.type_name in {"string", "TString"}:
        return ColumnType("string", text=branch.type_name)
    element, depth = _vector(branch.type_name)
    if element is not None and depth > 1:
        native = np.dtype(element).newbyteorder("=")
        return ColumnType("jagged", native, depth=depth, text=branch.type_name)
    return None
