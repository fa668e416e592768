"""Arrays of a shop on disk: dataclasses of NumPy arrays as safetensors, never pickled."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy import sparse

from envs.assemble import Shop, Visitors
from envs.catalogue import load_catalogue, save_catalogue
from envs.errors import UserError
from envs.files import atomic_path, read_json, write_json
from envs.pools import Pools
from envs.shoppers import Population, Profiles
from envs.similarity import ItemIndex
from envs.text_encoder import Encoder, TextEncoder
from envs.transformer_encoder import TransformerEncoder, load_transformer, save_transformer

T = TypeVar("T")

#: The sparse matrices of an item index, and the arrays that each is made of.
_SPARSE = ("behaviour", "graph", "postings")
_PARTS = ("data", "indices", "indptr")
#: Folder of a transformer that texts are encoded by, where there is one.
_ENCODER = "encoder"


def save_arrays(record: Any, path: Path, leave_out: tuple[str, ...] = ()) -> None:
    """Write the array fields of a dataclass as one safetensors file, atomically."""
    arrays = {
        f.name: np.ascontiguousarray(getattr(record, f.name))
        for f in fields(record)
        if f.name not in leave_out
    }
    with atomic_path(path) as temporary:
        save_file(arrays, temporary)


def load_arrays(kind: type[T], path: Path, **others: Any) -> T:
    """Read what `save_arrays` wrote; ``others`` fills the fields it left out.

    Raises:
        UserError: for a file that cannot be read or holds other arrays.
    """
    arrays = _arrays(path)
    expected = {f.name for f in fields(kind)} - others.keys()  # type: ignore[arg-type]
    if arrays.keys() != expected:
        odd = sorted(arrays.keys() ^ expected)[0]
        raise UserError(
            f"{path}: must hold the arrays of {kind.__name__}, but {odd!r} is missing or unknown; "
            "write it anew"
        )
    return kind(**arrays, **others)


def _arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        return load_file(path)
    except Exception as error:  # missing, truncated or not safetensors: all the user's to mend
        raise UserError(
            f"{path}: cannot be read as safetensors ({error}); write it anew"
        ) from error


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as JSON ({error}); write it anew") from error


def save_index(index: ItemIndex, folder: Path) -> None:
    """Write an item index as ``index.safetensors`` and ``index.json``.

    A transformer that encodes its texts goes into the folder ``encoder``.
    """
    arrays, vocabulary = _save_encoder(index.encoder, folder)
    arrays |= {
        "embedding": index.embedding,
        "class_ties": index.class_ties,
        "price_z": index.price_z,
        "quality": index.quality,
        "class_index": index.class_index,
    }
    for name in _SPARSE:
        for part in _PARTS:
            arrays[f"{name}.{part}"] = getattr(getattr(index, name), part)
    with atomic_path(folder / "index.safetensors") as temporary:
        save_file({k: np.ascontiguousarray(v) for k, v in arrays.items()}, temporary)
    write_json(
        folder / "index.json",
        {
            "vocabulary": vocabulary,
            "behaviour_scale": index.behaviour_scale,
            "graph_nodes": index.graph.shape[1],
            "query_items": index.query_items,
            "words": index.words,
        },
    )


def _save_encoder(
    encoder: Encoder, folder: Path
) -> tuple[dict[str, NDArray[Any]], dict[str, int] | None]:
    """Write a transformer, or return the arrays and the vocabulary of a fitted encoder."""
    if isinstance(encoder, TransformerEncoder):
        save_transformer(encoder, folder / _ENCODER)
        return {}, None
    assert isinstance(encoder, TextEncoder)  # there are two kinds
    return {"idf": encoder.idf, "components": encoder.components}, encoder.vocabulary


def load_index(folder: Path) -> ItemIndex:
    """Read what `save_index` wrote.

    Raises:
        UserError: for a file that cannot be read.
    """
    arrays, about = _arrays(folder / "index.safetensors"), _json(folder / "index.json")
    items, words = len(arrays["quality"]), about["words"]
    if "postings.data" not in arrays:
        raise UserError(
            f"{folder / 'index.safetensors'}: was written by an earlier version and has no word "
            "postings; compute the similarity anew"
        )

    def matrix(name: str, rows: int, columns: int) -> sparse.csr_matrix:
        parts = tuple(arrays[f"{name}.{part}"] for part in _PARTS)
        return sparse.csr_matrix(parts, shape=(rows, columns))

    vocabulary = about["vocabulary"]
    encoder: Encoder = (
        load_transformer(folder / _ENCODER)
        if vocabulary is None
        else TextEncoder(vocabulary, arrays["idf"], arrays["components"])
    )
    return ItemIndex(
        encoder=encoder,
        embedding=arrays["embedding"],
        behaviour=matrix("behaviour", items, items),
        behaviour_scale=about["behaviour_scale"],
        graph=matrix("graph", items, about["graph_nodes"]),
        class_ties=arrays["class_ties"],
        price_z=arrays["price_z"],
        quality=arrays["quality"],
        class_index=arrays["class_index"],
        words=words,
        postings=matrix("postings", len(words), items),
        query_items=about["query_items"],
    )


def save_profiles(profiles: Profiles, folder: Path) -> None:
    """Write observed profiles as ``profiles.safetensors`` and ``profiles.json`` (shopper ids)."""
    save_arrays(profiles, folder / "profiles.safetensors", leave_out=("shopper_ids",))
    write_json(folder / "profiles.json", {"shopper_ids": profiles.shopper_ids})


def load_profiles(folder: Path) -> Profiles:
    """Read what `save_profiles` wrote."""
    ids = _json(folder / "profiles.json")["shopper_ids"]
    return load_arrays(Profiles, folder / "profiles.safetensors", shopper_ids=ids)


def save_visitors(visitors: Visitors, folder: Path) -> None:
    """Write the catalogue, the observed profiles and, apart, the hidden population."""
    save_catalogue(visitors.catalogue, folder / "catalogue")
    save_profiles(visitors.profiles, folder)
    save_arrays(visitors.population, folder / "population.safetensors")


def load_visitors(folder: Path) -> Visitors:
    """Read what `save_visitors` wrote."""
    return Visitors(
        catalogue=load_catalogue(folder / "catalogue"),
        population=load_arrays(Population, folder / "population.safetensors"),
        profiles=load_profiles(folder),
    )


def save_similarity(shop: Shop, folder: Path) -> None:
    """Write the item index and the candidate pools."""
    save_index(shop.index, folder)
    save_arrays(shop.pools, folder / "pools.safetensors")


def load_shop(visitors: Path, similarity: Path) -> Shop:
    """Read a shop from the folders that `save_visitors` and `save_similarity` wrote."""
    return Shop(
        visitors=load_visitors(visitors),
        index=load_index(similarity),
        pools=load_arrays(Pools, similarity / "pools.safetensors"),
    )
