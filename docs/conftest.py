"""The pages' examples run in a folder of their own, and close what they draw."""

import pytest

collect_ignore = ["check_site.py", "conf.py", "conftest.py"]
collect_ignore_glob = ["_ext/*", "plots/*", "_build/*", "auto_examples/*", "api/*"]


@pytest.fixture(autouse=True)
def _folder_of_its_own(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
