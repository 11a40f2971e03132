"""The two estimators: their parameters, attributes and examples."""

from sklearn.utils._param_validation import StrOptions

from .._base import BaseVAE
from ..likelihoods import LIKELIHOODS

PARAMETERS = """
    Parameters
    ----------
    n_components : int, default=2
        Number of components d, the dimension of z. It may exceed the number of features.

    hidden_layer_sizes : array-like of int, default=(96, 96)
        Width of each hidden layer of the encoder; the decoder has them in reverse. ``()`` gives a
        linear model: probabilistic PCA with shared noise, factor analysis with noise per feature.

    activation : {"auto", "elu", "gelu", "logistic", "relu", "silu", "tanh"}, default="auto"
        Activation of the hidden layers: "auto" is "tanh" in a perceptron and "silu" in a
        convolutional network.

    encoder, decoder : callable or None, default=None
        Factories ``f(n_in, n_out) -> torch.nn.Module`` that take the place of the multilayer
        perceptrons. A linear path runs beside them as well, so that they start at the same linear
        model. Importable functions can be pickled, lambdas cannot.

    image_shape : (height, width), (channels, height, width) or None, default=None
        Shape of the images whose flattened pixels are the rows of X. Encoder and decoder are then
        convolutional networks, with `n_filters` and, as linear layers between the convolutions and
        the components, `hidden_layer_sizes`. A linear path runs beside them as well. An `encoder`
        or `decoder` that is given takes the place of the convolutional one.

    n_filters : array-like of int, default=(8, 16)
        Filters of each convolution of the encoder; the decoder has them in reverse. Each has
        windows of 4 x 4 pixels that move by 2, so it halves the height and the width of an image.
        ``n_filters=(64, 128), hidden_layer_sizes=(1024,)`` is a usual network for 28 x 28 pixels.
        Ignored if `image_shape` is None.

    likelihood : {likelihoods}, Likelihood or list, default="gaussian"
        What p(x | z) is: a name, or an object of :mod:`sklearn_vae.likelihoods` where parameters of
        its own are wanted, such as ``Gaussian(noise_variance="per_feature")``. "gaussian" has one
        learned noise variance for all (standardised) features, or one for each where the columns of
        a DataFrame are of several kinds. "continuous_bernoulli" is the
        density for values in [0, 1]; "bernoulli" takes them as well, but for those strictly between
        it is a cross-entropy and no density. "poisson" and "negative_binomial" take counts, which
        the encoder sees as log(1 + x). A list of pairs ``(likelihood, columns)`` gives columns,
        by name or number, likelihoods of their own, among them "categorical"; each column is then
        named once.

    categorical_features : "from_dtype", array-like or None, default="from_dtype"
        Which columns are categories: those of a DataFrame whose dtype is categorical, string or
        object; or those that are given by number, name or mask. Boolean columns of a DataFrame have
        a Bernoulli likelihood, and the others that of `likelihood`. None if there are none.

    handle_unknown : {"error", "ignore"}, default="error"
        What to do with a category that `fit` did not see: "ignore" takes it for a missing value.

    covariance_type : {covariance_types} or type, default="{covariance_type}"
        {covariance_doc} A subclass of
        :class:`sklearn_vae.posteriors.Posterior` may take the place of a name.

    objective : {"elbo", "infovae", "iwae"} or Objective, default="elbo"
        What training maximises: the evidence lower bound; the InfoVAE's sum with a maximum mean
        discrepancy; or the importance-weighted bound over 5 draws. An object of
        :mod:`sklearn_vae.objectives` has parameters of its own: ``ELBO(beta=4)`` is that of the
        beta-VAE, ``ELBO(kl_warmup=50)`` lets the KL grow.

    init : {"auto", "random"}, default="auto"
        Where training starts: "auto" at the maximum-likelihood linear model where there is one
        (Gaussian likelihood, counts), in the basis that suits `covariance_type`; for other
        likelihoods at the mean of each feature. "random" where the networks are as they were drawn.

    standardize : bool or "auto", default="auto"
        How features are centred and scaled inside, where the likelihood allows it (Gaussian). True
        divides each by its own standard deviation, as columns in different units need it. "auto"
        does the same, unless the columns share a unit, as pixels, bands and channels do: then all
        are divided by one number, and their relative sizes stay, as in PCA. Columns are taken to
        share a unit if none has a range over five times the median range and at most a tenth of
        them have one below a twentieth of it. False leaves them as they are. What goes in and comes
        out stays in X's units.

    learning_rate_init : float, default=6e-3
        Learning rate, which the first 30 steps work up to. It stays what it is: the weights that
        are kept are averages over the last steps, and need no decay. There are three exceptions.
        With more than 200 features it is divided by their number over 200. With more than 10,000
        rows it is smaller where the noise is small, and two fifths of it at the end. It is a fifth
        at the end where no epoch helped, with fewer rows as well. In large batches (`batch_size`)
        it is multiplied by the square root of 8.

    batch_size : int or "auto", default="auto"
        Samples per training step; "auto" is 128. Batches are made of one size, so it may be up to
        half as many more. With more than 10,000 rows it is 1,024, on a CPU and for hidden layers of
        256 units or fewer. The optimizer is then SOAP (Vyas et al. 2024, arXiv:2409.11321) and
        otherwise AdamW, unless `net_params` has one.

    alpha : float, default=0.0
        Weight decay of the optimizer.

    max_iter : int, default=500
        Epochs at most. An epoch is one pass over the rows trained on, or two where a batch holds
        all of them.

    max_time : float or None, default=None
        Seconds of training at most, after which the best weights so far are kept. A step that has
        begun is finished, and so are the linear start and the calibration.

    tol : float, default=1e-4
        Nats per sample by which the monitored loss must fall to count as an improvement.

    n_iter_no_change : int or "auto", default="auto"
        Epochs without improvement after which training stops. "auto" is 20 passes over the rows,
        but at least 30 steps and at most 200 (400 in large batches); at least five epochs, and a
        fifth of those so far, or a tenth with more than 10,000 rows, where training goes on with
        smaller steps. What was gained since the start then has to grow by 1 % to count as an
        improvement. The held-out loss is watched as it is, and as it would be at the noise that
        suits the held-out rows best.

    early_stopping : bool, "auto" or splitter, default="auto"
        Whether a part of the data is held out, whose loss then decides when to stop and which
        weights to keep; "auto" if there are 20 samples or more. Copies of a row stay together; for
        other rows that belong together see `groups` in `fit`. A splitter of scikit-learn, such as
        ``GroupShuffleSplit()`` or ``TimeSeriesSplit()``, holds out the rows of its last split. Of
        up to 10,000, all rows are used in the end: the net goes on over all of them for a
        while. If no row is held out, the rows trained on decide which weights to keep.

    validation_fraction : float, default=0.1
        The part that is held out. With `early_stopping="auto"` at least 30 samples are, or a
        quarter of fewer than 120.

    warm_start : bool, default=False
        Whether `fit` goes on from the previous fit.

    device : str, default="auto"
        Where to train and evaluate: "auto" takes CUDA, XPU, MPS or the CPU, the first that is
        there; else the name of a torch device.

    net_class : type or None, default=None
        A subclass of :class:`sklearn_vae.training.VAENet`, to change how training runs.

    net_params : dict or None, default=None
        Anything that the skorch net takes, over what this class gives it: ``callbacks``,
        ``optimizer``, ``optimizer__weight_decay``, ``compile`` ... With
        ``{"keep_on_interrupt": True}`` Ctrl-C ends a fit as `max_time` does, with the best weights
        so far.

    random_state : int, RandomState instance or None, default=None
        An int gives the same result each time; None a different one. Global random streams are
        not touched in any case.

    verbose : int, default=0
        1 prints a table with a line for each epoch: its stage, such as "2 of 4: second start", and
        its losses. Progress bars come from scikit-learn's callbacks, from its version 1.9 on:
        ``set_callbacks(ProgressBar())``.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The fitted net; ``net_.module_`` is the torch module.

    noise_variance_ : ndarray of shape (n_features,)
        Variance of the Gaussian noise, in X's squared units; if it grows with the distance, that
        where ``|z|^2`` is n_components, its mean under the prior.

    noise_growth_ : float
        The power of ``(1 + |z|^2 / d) / 2`` by which the variance of the Gaussian noise grows.

    noise_reach_ : float
        The value of ``(1 + |z|^2 / d) / 2`` from which on that power is at least 1: that of the
        farthest row in training (of at most 20,000), or in as many draws from the prior as there
        are rows. Infinite if `noise_growth` is not measured.

    dispersion_ : ndarray of shape (n_features,)
        Dispersion of the negative binomial: the variance is mean + dispersion mean^2.

    components_ : ndarray of shape (n_components, n_columns)
        The loadings: by how much the mean of x changes with each component, in X's units, on
        average over the training data. With ``hidden_layer_sizes=()`` they are those of
        :class:`~sklearn.decomposition.FactorAnalysis` up to a rotation. Elsewhere they are the mean
        of the decoder's derivatives, which hides slopes that change their sign. There is a column
        for each column of X, or for each level of a category, whose probability it is about. The
        components come in the order of `explained_variance_ratio_`. The sign is that with which a
        component correlates positively with the column of X that its covariance is largest with.

    explained_variance_ratio_ : ndarray of shape (n_components,)
        Share of the variance of the training data that the reconstruction gains by each component.
        With ``hidden_layer_sizes=()`` and shared noise they are PCA's, but for the shrinkage of the
        posterior mean; an autoregressive posterior has another basis, where only their sum is
        PCA's. Their sum is the R^2 of the reconstruction, of columns divided by `scale_`.
        This is ``r2_score(X, model.inverse_transform(model.transform(X)))`` where each column was
        divided by its own standard deviation. With ``multioutput="variance_weighted"`` it is so
        where all were divided by one number. In a DataFrame of several kinds of columns each counts
        alike. The shares decrease where the posterior admits any order of the components, as
        "diag" and "spherical" do. Among more than two components "ar1" and "scaled_ar1" admit one
        order and its reverse; "full" admits one. Where training goes on the order stays as it was.

    column_names_ : ndarray of shape (n_columns,)
        Names of the columns of `components_`: those of X, with the level behind that of a category.

    n_components_ : int
        The number of components.

    n_samples_seen_ : int
        Rows that were fitted to, by all calls of `partial_fit` together. After `partial_fit`, the
        attributes of the components are those of its last block (of up to 128 rows of it for
        `components_` and `explained_variance_ratio_`).

    kl_per_component_ : ndarray of shape (n_components,)
        Mean KL of each component over the training data, in nats: what it tells of a sample. (The
        chain rule over components; from at most 10,000 rows.)

    active_components_ : ndarray of shape (n_active,)
        Components whose posterior mean varies over the data (variance above 0.01), in decreasing
        order of their KL.

    n_active_components_ : int
        How many are active. Fewer than half of them give a warning.

    loss_ : float
        Training loss of the last epoch: minus the objective, in nats per sample, X's units.

    loss_curve_ : list of float
        Training loss of each epoch.

    validation_loss_curve_ : list of float or None
        Validation loss of each epoch, if data were held out. With a warm start it is NaN in the
        epochs of fits that held none out.

    validation_reconstruction_curve_, validation_kl_curve_ : list of float or None
        Its parts, in nats per sample: minus the mean of log p(x | z) over the draws of z, and the
        KL of the posterior. Their sum is minus the evidence lower bound of the held-out rows. With
        ``ELBO(beta)`` the loss is the first plus beta times the second. With free bits and other
        objectives they do not add up to the loss.

    best_loss_ : float
        Validation loss of the best weights; if no data were held out, the loss of the rows trained
        on (up to 10,000).

    n_iter_ : int
        Epochs run.

    mean_, scale_ : ndarray of shape (n_features,)
        What features are centred and scaled by inside; 0 and 1 where they are not. Constant columns
        have no density: the Gaussian likelihood leaves them out of the model and gives them back as
        they are. Their scale is 0 and their mean the constant.

    device_ : torch.device
        Where the fitted model is.

    n_features_in_ : int
        Number of features seen during `fit`.

    feature_names_in_ : ndarray of shape (n_features,)
        Names of features seen during `fit`, if they were all strings.
"""


def _documented(cls):
    """Put the shared parameters and attributes where a class's docstring says ``{shared}``."""
    options = cls._parameter_constraints["covariance_type"][0].options
    shared = PARAMETERS.strip().replace(
        "{covariance_types}", "{" + ", ".join(f'"{name}"' for name in sorted(options)) + "}"
    )
    shared = shared.replace(
        "{likelihoods}", "{" + ", ".join(f'"{name}"' for name in sorted(LIKELIHOODS)) + "}"
    )
    shared = shared.replace("{covariance_type}", cls().covariance_type).replace(
        "{covariance_doc}", cls._covariance_doc
    )
    cls.__doc__ = cls.__doc__.replace("{shared}", shared)
    return cls


@_documented
class VAETransformer(BaseVAE):
    r"""Variational autoencoder with a Gaussian posterior in the place of PCA.

    The model is z ~ N(0, I), x ~ p(x | z), where a network maps z to the mean of x. A second
    network maps x to an approximate posterior q(z | x) = N(mu, Sigma). Both are trained on the
    evidence lower bound [1]_

    .. math:: \log p(x) \ge \mathbb{E}_q[\log p(x \mid z)] - \mathrm{KL}(q(z \mid x) \,\|\, p(z))

    in nats per sample, every constant kept. `transform` gives mu, `inverse_transform` the mean of
    p(x | z), `score` an estimate of log p(x) that can be compared with ``PCA.score``.

    Read more in the :ref:`User Guide <user_guide>`.

    {shared}

    See Also
    --------
    RhoVAETransformer : The same with an autoregressive posterior, of two scalars.
    sklearn.decomposition.PCA : Linear, with the same noise for all features.
    sklearn.decomposition.FactorAnalysis : Linear, with noise per feature.

    References
    ----------
    .. [1] Kingma, D. P., and Welling, M. "Auto-Encoding Variational Bayes". ICLR 2014.
       `arXiv:1312.6114 <https://arxiv.org/abs/1312.6114>`__.
    .. [2] Tipping, M. E., and Bishop, C. M. "Probabilistic principal component analysis". JRSS B,
       1999.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import VAETransformer
    >>> X, _ = load_iris(return_X_y=True)
    >>> vae = VAETransformer(n_components=2, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (150, 2)
    """

    _covariance_doc = (
        'Shape of the posterior covariance: "diag" has a variance per component, "spherical" '
        'one for all, "full" any\n'
        "        covariance."
    )
    _parameter_constraints = {
        **BaseVAE._parameter_constraints,
        "covariance_type": [StrOptions({"diag", "full", "spherical"}), type],
    }


@_documented
class RhoVAETransformer(BaseVAE):
    r"""Variational autoencoder with an autoregressive posterior: the rho-VAE, as it should be.

    The posterior covariance of z is that of a stationary AR(1) process over the components [1]_,

    .. math:: \Sigma_{ij} = s \rho^{|i - j|} ,

    of two scalars per sample in place of d variances. The rest is as in :class:`VAETransformer`.
    Since the basis of z is free, two scalars have to match the spectrum of the true posterior
    covariance and no more: for d <= 2 they lose nothing.

    The gains published for this posterior come from errors in the published sampler and KL; with
    both exact, as here, it is about level with independent components.

    {shared}

    See Also
    --------
    VAETransformer : The same with a variance per component.
    sklearn.decomposition.PCA : Linear, with the same noise for all features.

    References
    ----------
    .. [1] Ferdowsi, S., Diephuis, M., Rezaeifar, S., and Voloshynovskiy, S. "rho-VAE:
       Autoregressive parametrization of the VAE encoder". 2019.
       `arXiv:1909.06236 <https://arxiv.org/abs/1909.06236>`__.
    .. [2] Kingma, D. P., and Welling, M. "Auto-Encoding Variational Bayes". ICLR 2014.
       `arXiv:1312.6114 <https://arxiv.org/abs/1312.6114>`__.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn_vae import RhoVAETransformer
    >>> X, _ = load_iris(return_X_y=True)
    >>> vae = RhoVAETransformer(n_components=3, random_state=0).fit(X)
    >>> vae.transform(X).shape
    (150, 3)
    """

    _covariance_doc = (
        'Shape of the posterior covariance: "ar1" is ``s rho^|i - j|``; "scaled_ar1" has a '
        "variance per component,\n"
        "        ``sigma_i sigma_j rho^|i - j|``, and so contains both it and independent "
        "components."
    )
    _parameter_constraints = {
        **BaseVAE._parameter_constraints,
        "covariance_type": [StrOptions({"ar1", "scaled_ar1"}), type],
    }

    def __init__(
        self,
        n_components=2,
        *,
        hidden_layer_sizes=(96, 96),
        activation="auto",
        encoder=None,
        decoder=None,
        image_shape=None,
        n_filters=(8, 16),
        likelihood="gaussian",
        categorical_features="from_dtype",
        handle_unknown="error",
        covariance_type="ar1",
        objective="elbo",
        init="auto",
        standardize="auto",
        learning_rate_init=6e-3,
        batch_size="auto",
        alpha=0.0,
        max_iter=500,
        max_time=None,
        tol=1e-4,
        n_iter_no_change="auto",
        early_stopping="auto",
        validation_fraction=0.1,
        warm_start=False,
        device="auto",
        net_class=None,
        net_params=None,
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            n_components,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            encoder=encoder,
            decoder=decoder,
            image_shape=image_shape,
            n_filters=n_filters,
            likelihood=likelihood,
            categorical_features=categorical_features,
            handle_unknown=handle_unknown,
            covariance_type=covariance_type,
            objective=objective,
            init=init,
            standardize=standardize,
            learning_rate_init=learning_rate_init,
            batch_size=batch_size,
            alpha=alpha,
            max_iter=max_iter,
            max_time=max_time,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            warm_start=warm_start,
            device=device,
            net_class=net_class,
            net_params=net_params,
            random_state=random_state,
            verbose=verbose,
        )
