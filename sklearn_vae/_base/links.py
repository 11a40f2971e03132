"""Where an estimator's page of the documentation is, for its HTML representation."""

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata

PAGE = "api/generated/{estimator_module}.{estimator_name}.html"


@cache
def site():
    """The address of the documentation that the package's metadata give, or an empty string."""
    try:
        urls = metadata("sklearn-vae").get_all("Project-URL") or []
    except PackageNotFoundError:
        return ""
    return dict(url.split(", ", 1) for url in urls).get("Documentation", "").rstrip("/")


class DocumentationLink:
    """A link to the page of an estimator, or none where the site's address is not known."""

    _doc_link_module = "sklearn_vae"

    @property
    def _doc_link_template(self):
        return f"{site()}/{PAGE}" if site() else ""
