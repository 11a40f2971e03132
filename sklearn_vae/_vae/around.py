"""What the imputer and the outlier detector share: they fit an estimator of this package."""

from sklearn.base import BaseEstimator, clone

from .._base.links import DocumentationLink
from .._base.progress import CallbackSupportMixin, as_a_task


class Around(CallbackSupportMixin, DocumentationLink, BaseEstimator):
    """An estimator with another one inside, its parameter `estimator`."""

    def _inside(self, default, seed):
        """A clone of `estimator`, or the default for None, with a seed where it has none."""
        inside = default if self.estimator is None else clone(self.estimator)
        if inside.get_params().get("random_state") is None:
            inside.set_params(random_state=seed)
        return inside

    def _fit_inside(self, inside, X, y, X_inside, **how):
        """Let `estimator_` be `inside`, fitted to X_inside; callbacks are told of X and y."""
        with as_a_task(self, inside, X, y):
            self.estimator_ = inside.fit(X_inside, **how)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
