"""Which tensor of a Hugging Face model holds which parameter, and what is wrong with them."""

from jaxgen.checkpoints import manifest
from jaxgen.checkpoints.keys import TABLES, Key, keys_of
from jaxgen.checkpoints.tensors import DTYPES, Entry
from jaxgen.errors import UserError
from jaxgen.models.structure import Structure


def match_tensors(
    structure: Structure, entries: dict[str, Entry], *, source: str
) -> dict[str, tuple[Key, Entry]]:
    """Find each parameter's tensor; none may be missing, left over, misshapen or of a wrong dtype.

    Args:
        structure: of the model.
        entries: the tensors that there are, by their names in the files.
        source: what errors call the model.

    Returns:
        By parameter name, where it stands in a Hugging Face checkpoint, and the tensor there.

    Raises:
        UserError: all problems at once.
    """
    keys = keys_of(structure)
    by_name = _without_prefix(structure, entries)
    problems = _tensor_problems(structure, keys, by_name)
    # All at once: whoever mends a checkpoint should not have to try it again for each problem.
    messages = []
    for kind, names in problems.items():
        if names:
            messages.append(f"{len(names)} tensors {kind}: {manifest.listed(names)}")
    if messages:
        message = f"{source} does not hold the tensors of its config.json"
        raise UserError.collected(message, messages)
    return {name: (key, by_name[key.name]) for name, key in keys.items()}


def _without_prefix(structure: Structure, entries: dict[str, Entry]) -> dict[str, Entry]:
    """Return the tensors by their names without the prefix that only some files have."""
    prefix = TABLES[structure.architecture.family].prefix
    by_name = {}
    # Short names first: of a name both with and without its prefix, the longer one stays as it is
    # and counts as unexpected.
    for name in sorted(entries, key=len):
        bare = name.removeprefix(prefix)
        if bare in by_name:
            bare = name
        by_name[bare] = entries[name]
    return by_name


def _tensor_problems(
    structure: Structure, keys: dict[str, Key], by_name: dict[str, Entry]
) -> dict[str, list[str]]:
    """Return what is wrong with the tensors, by kind of problem; kinds without any are empty."""
    table = TABLES[structure.architecture.family]
    expected_shapes = {}
    for key, shape in zip(keys.values(), structure.shapes, strict=True):
        expected_shapes[key.name] = key.stored_shape(shape)
    missing = [name for name in expected_shapes if name not in by_name]
    unexpected, misshapen, mistyped = [], [], []
    for name, entry in by_name.items():
        if name not in expected_shapes:
            if not table.ignores(name, tied=structure.architecture.tied):
                unexpected.append(name)
            continue
        shape = expected_shapes[name]
        if entry.shape != shape:
            misshapen.append(f"{name} is {entry.shape}, config.json asks for {shape}")
        if entry.dtype not in DTYPES:
            mistyped.append(f"{name} is {entry.dtype}")
    return {
        "missing": missing,
        "unexpected": unexpected,
        "misshapen": misshapen,
        f"of a dtype other than {', '.join(DTYPES)}": mistyped,
    }
