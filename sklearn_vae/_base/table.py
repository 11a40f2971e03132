"""Tables of named columns of several kinds: to numbers on their way in, and back on their way out.

A schema says of each column whether it holds real numbers, booleans or categories, and which
levels. It is a dict of lists, numbers and strings, so that it can be stored with a model. With it a
table becomes an array of floats, in which a category is the number of its level, a boolean 0 or 1
and a missing value NaN.
"""

import importlib

import numpy as np

from ..likelihoods import LIKELIHOODS, Categorical, Mixed
from .data import widened

MOST_LEVELS = 255
REAL, BOOLEAN, CATEGORY = "real", "boolean", "category"


def container_of(X):
    """The library that X is a DataFrame of: "pandas" or "polars"; None for anything else."""
    if hasattr(X, "iloc") and hasattr(X, "dtypes"):
        return "pandas"
    return "polars" if hasattr(X, "get_columns") and hasattr(X, "schema") else None


def schema_of(X, categorical_features, likelihood):
    """The schema of a table, or None where all columns are numbers of one likelihood.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_samples, n_features)
    categorical_features : "from_dtype", None or array-like of int, str or bool
    likelihood : object
        The parameter of an estimator; a list asks for a schema in any case.

    Returns
    -------
    dict or None
        Lists of one item for each column: "names", "kinds", "levels", "dtypes"; and "container".

    Raises
    ------
    ValueError
        If a column is of a kind that has no likelihood, or has too many levels.
    """
    container = container_of(X)
    from_dtype = isinstance(categorical_features, str)
    chosen = [] if from_dtype or categorical_features is None else categorical_features
    if container is None and not len(chosen) and not isinstance(likelihood, list):
        return None
    columns = _columns(X, container)
    is_chosen = _mask(chosen, list(columns))
    if isinstance(likelihood, list):
        is_chosen |= _asked_to_be_categories(likelihood, list(columns))
    kinds, levels, dtypes = [], [], []
    for (name, column), as_category in zip(columns.items(), is_chosen, strict=True):
        kind = CATEGORY if as_category else _kind(name, column)
        if kind != REAL and categorical_features is None:
            raise ValueError(
                f"Column {name!r} of X holds no numbers, and categorical_features=None says that "
                "no column is a category. Leave categorical_features='from_dtype', or encode it."
            )
        kinds.append(kind)
        levels.append(_levels(name, column) if kind == CATEGORY else None)
        dtypes.append(str(getattr(column, "dtype", "float64")))
    if set(kinds) == {REAL} and not isinstance(likelihood, list):
        return None
    ordered = [bool(getattr(getattr(c, "dtype", None), "ordered", False)) for c in columns.values()]
    return {
        "container": container,
        "names": list(columns),
        "kinds": kinds,
        "levels": levels,
        "dtypes": dtypes,
        "ordered": ordered,
    }


def _columns(X, container):
    """The columns of a table by name; those of an array by number."""
    if container == "pandas":
        return {name: X.iloc[:, j] for j, name in enumerate(X.columns)}
    if container == "polars":
        return {column.name: column for column in X.get_columns()}
    X = np.asarray(X) if hasattr(X, "shape") else np.array(X, dtype=object)
    return {j: X[:, j] for j in range(X.shape[1])}


def _mask(chosen, names):
    """Which columns are chosen by a mask, by numbers or by names."""
    chosen, mask = np.asarray(chosen), np.zeros(len(names), dtype=bool)
    if chosen.dtype == bool:
        if len(chosen) != len(names):
            raise ValueError(
                f"categorical_features has {len(chosen)} entries, but X has {len(names)} columns."
            )
        return chosen.copy()
    for one in chosen.tolist():
        mask[_position(one, names, "categorical_features")] = True
    return mask


def _position(one, names, parameter):
    """The number of a column that is given by its number or its name."""
    if one in names:
        return names.index(one)
    if isinstance(one, int) and -len(names) <= one < len(names):
        return one % len(names)
    raise ValueError(f"{parameter} names the column {one!r}, but X has the columns {names}.")


def _kind(name, column):
    """Whether a column holds numbers, booleans or categories."""
    dtype = str(getattr(column, "dtype", object)).lower()
    if dtype.startswith("bool"):
        return BOOLEAN
    if dtype.startswith(("cat", "str", "string", "enum", "utf8", "large_string")):
        return CATEGORY
    if dtype.startswith(("int", "uint", "float", "double", "half", "decimal")):
        return REAL
    if dtype == "object":
        values, missing = _values(column)
        kinds = {type(value) for value in values[~missing]}
        if kinds <= {bool, np.bool_} and kinds:
            return BOOLEAN
        if all(issubclass(kind, str) for kind in kinds):
            return CATEGORY if kinds else REAL
        if all(issubclass(kind, (int, float, np.number)) for kind in kinds):
            return REAL
    raise ValueError(
        f"Column {name!r} of X has the dtype {getattr(column, 'dtype', type(column))}. It holds "
        "neither numbers, booleans nor categories. Turn dates into numbers, such as days since a "
        "date, and split lists into columns; or leave the column out."
    )


def _values(column):
    """Values of a column as an object array, and which are missing."""
    if hasattr(column, "is_null"):  # polars
        values = np.array(column.to_list(), dtype=object)
        return values, column.is_null().to_numpy() | _is_nan(values)
    if hasattr(column, "isna"):
        return column.astype(object).to_numpy(), column.isna().to_numpy()
    values = np.asarray(column, dtype=object)
    return values, _is_nan(values)


def _is_nan(values):
    return np.array([value is None or value != value for value in values], dtype=bool)


def _levels(name, column):
    """The levels of a column: those of its dtype, or its values in order."""
    dtype = getattr(column, "dtype", None)
    declared = getattr(dtype, "categories", None)
    if declared is not None and "Categorical" not in str(dtype):
        levels = list(declared)
    else:
        values, missing = _values(column)
        levels = sorted(set(values[~missing].tolist()), key=lambda v: (str(type(v)), v))
    if not 1 <= len(levels) <= MOST_LEVELS:
        raise ValueError(
            f"Column {name!r} of X has {len(levels)} levels; a category has 1 to {MOST_LEVELS}. "
            "Group rare levels, or leave the column out."
        )
    return [level.item() if isinstance(level, np.generic) else level for level in levels]


def likelihood_of(schema, likelihood):
    """The likelihood of a table: one block for each kind of columns.

    Parameters
    ----------
    schema : dict
    likelihood : Likelihood or list of (str or Likelihood, list of columns)
        That of the columns of numbers; or of the columns that are named.
    """
    names, kinds, levels = schema["names"], schema["kinds"], schema["levels"]
    if isinstance(likelihood, list):
        blocks = _asked_blocks(likelihood, names)
    else:
        blocks = [(likelihood, [j for j, kind in enumerate(kinds) if kind == REAL])]
        blocks += [("bernoulli", [j for j, kind in enumerate(kinds) if kind == BOOLEAN])]
        blocks += [("categorical", [j for j, kind in enumerate(kinds) if kind == CATEGORY])]
    made = []
    for part, columns in blocks:
        if not isinstance(part, str):
            made.append((part, columns))
        elif part == "categorical":
            made.append((Categorical(tuple(len(levels[j]) for j in columns)), columns))
        else:
            made.append((LIKELIHOODS[part](), columns))
    return Mixed([(part, tuple(columns)) for part, columns in made if len(columns)])


def _asked_blocks(likelihood, names):
    """Blocks of a list of likelihoods, columns by number; every column must be in one of them."""
    blocks = [
        (part, [_position(one, names, "likelihood") for one in _listed(columns)])
        for part, columns in likelihood
    ]
    taken = [j for _, columns in blocks for j in columns]
    twice = sorted({names[j] for j in taken if taken.count(j) > 1}, key=str)
    left = [name for j, name in enumerate(names) if j not in taken]
    if twice or left:
        raise ValueError(
            "likelihood takes a list in which each column of X is named once; named more than "
            f"once: {twice or 'none'}; not named: {left or 'none'}."
        )
    return blocks


def _asked_to_be_categories(likelihood, names):
    mask = np.zeros(len(names), dtype=bool)
    for part, columns in _asked_blocks(likelihood, names):
        if part == "categorical":
            mask[columns] = True
    return mask


def _listed(columns):
    return [columns] if isinstance(columns, (str, int)) else list(columns)


def to_numbers(X, schema, handle_unknown):
    """A table as an array of floats.

    Raises
    ------
    ValueError
        If a column holds values that its kind does not have.
    """
    columns = list(_columns(X, container_of(X)).values())
    out = np.empty((len(columns[0]), len(columns)))
    for j, (column, kind) in enumerate(zip(columns, schema["kinds"], strict=True)):
        name, levels = schema["names"][j], schema["levels"][j]
        values, missing = _values(column)
        out[missing, j] = np.nan
        if kind == CATEGORY:
            codes = {level: code for code, level in enumerate(levels)}
            known = np.array([codes.get(value, -1) for value in values[~missing]], dtype=float)
            if (known < 0).any() and handle_unknown == "error":
                unknown = values[~missing][known < 0][0]
                raise ValueError(
                    f"Column {name!r} of X has the category {unknown!r}, which the fit did not "
                    "see. With handle_unknown='ignore' it is taken for a missing value. To know "
                    "it, declare it in the categorical dtype of the table that is fitted, or of "
                    "the first block of a stream."
                )
            out[~missing, j] = np.where(known < 0, np.nan, known)
            continue
        try:
            out[~missing, j] = values[~missing].astype(np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                f"Column {name!r} of X held {kind} values in fit, and now has the dtype "
                f"{getattr(column, 'dtype', type(column))}. Convert it as it was then."
            ) from None
    return out


def with_range(schema, x):
    """The schema, with the range so far of each column of numbers (n, n_features)."""
    bounds = widened(schema.get("range", (np.nan, np.nan)), x)
    return {**schema, "range": [bound.tolist() for bound in bounds]}


def clipped(x, schema):
    """Numbers (n, n_features) that do not exceed the range of their column, if one is known."""
    (least, most), known = np.array(schema["range"]), ~np.isnan(schema["range"][0])
    return np.where(known, np.clip(x, least, most), x)


def index_of(X):
    """The labels of the rows of a pandas object; None of anything else."""
    return X.index if hasattr(X, "iloc") else None


def to_table(x, schema, index=None):
    """An array of floats (n, n_features) as a table of the kind that the schema is of.

    Integers are rounded. A column with NaN keeps floats. An index labels the rows, in pandas.
    """
    columns = {name: _column(x[:, j], schema, j) for j, name in enumerate(schema["names"])}
    if schema["container"] is None:
        return np.column_stack([np.asarray(c, dtype=object) for c in columns.values()])
    library = importlib.import_module(schema["container"])
    if schema["container"] == "pandas":
        out = {}
        for j, (name, values) in enumerate(columns.items()):
            dtype = schema["dtypes"][j]
            if dtype == "category":
                levels, ordered = schema["levels"][j], schema["ordered"][j]
                out[name] = library.Categorical(values, levels, ordered=ordered)
            else:
                out[name] = library.Series(values, dtype=_kept_dtype(dtype, values))
        return library.DataFrame(out) if index is None else library.DataFrame(out).set_axis(index)
    series = []
    for j, (name, values) in enumerate(columns.items()):
        base = schema["dtypes"][j].split("(")[0]
        is_enum = base == "Enum"
        dtype = library.Enum(schema["levels"][j]) if is_enum else getattr(library, base)
        series.append(library.Series(name, list(values), dtype=dtype, strict=False))
    return library.DataFrame(series)


def _kept_dtype(dtype, values):
    """The dtype of a column, or that of its values where it cannot hold them."""
    holds_nan = any(value is None for value in values)
    return None if holds_nan and dtype.startswith(("int", "uint", "bool")) else dtype


def _column(x, schema, j):
    """A column's values, as a list in which None is missing."""
    kind, dtype = schema["kinds"][j], schema["dtypes"][j].lower()
    missing = np.isnan(x)
    if kind == CATEGORY:
        levels = schema["levels"][j]
        values = [levels[int(code)] for code in np.where(missing, 0, x)]
    elif kind == BOOLEAN:
        values = (np.where(missing, 0, x) > 0.5).tolist()
    elif dtype.startswith(("int", "uint")):
        values = np.where(missing, 0, np.round(x)).astype(np.int64).tolist()
    else:
        values = x.tolist()
    return [None if gone else value for value, gone in zip(values, missing, strict=True)]
