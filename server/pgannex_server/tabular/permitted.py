"""Which hyperparameters a call may set, and what they may be: a closed list.

Which question it answers: what of a library's options is about the model and what is about the
machine. Whoever may train may choose how, and nothing else: the libraries would also read and
write files (a cache of joblib is a folder of pickles), open ports, start processes and print.
What is not listed here does not exist for a call, however new the library is. What a name means
is `estimators.py`'s and `boosting.py`'s question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pgannex_wire import WireError

from pgannex_server.tabular.algorithms import Algorithm

_LONGEST: Final = 1000
"""Characters of a string, and entries of a list, that is still a hyperparameter."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SCIKIT_LEARN: Final = _words(
    """
    C affinity algorithm alpha alpha_1 alpha_2 alpha_init alphas assign_labels average bandwidth batch_size
    bin_seeding bootstrap bootstrap_features branching_factor break_ties cache_size categorical_features
    ccp_alpha class_weight cluster_all cluster_method coef0 compute_distances compute_full_tree
    compute_labels compute_score connectivity contamination convergence_iter copy copy_X copy_X_train
    copy_x criterion
    damping decision_function_shape degree distance_threshold dual early_stopping eigen_solver eigen_tol
    eps epsilon eta0 fit_intercept fit_path gamma init init_size interaction_cst intercept_scaling
    iterated_power jitter kernel kernel_params l1_ratio l2_regularization lambda_1 lambda_2 lambda_init
    leaf_size learning_rate linkage loss max_bins max_depth max_eps max_features max_iter max_iter_predict
    max_leaf_nodes max_no_improvement max_samples max_skips max_subpopulation max_trials method metric
    metric_params min_bin_freq min_cluster_size min_impurity_decrease min_samples min_samples_leaf
    min_samples_split min_weight_fraction_leaf mini_batch monotonic_cst multi_class n_best n_clusters
    n_components n_estimators n_init n_iter_no_change n_jobs n_neighbors n_nonzero_coefs n_oversamples
    n_restarts_optimizer n_subsamples n_svd_vecs normalize_y novelty nu oob_score optimizer p penalty
    positive power_iteration_normalizer power_t precompute predecessor_correction preference probability
    quantile random_state reassignment_ratio residual_threshold scoring seeds selection shrinking shuffle
    solver solver_options stop_n_inliers stop_probability stop_score subsample svd_method svd_solver
    threshold threshold_lambda tol validation_fraction verbose warm_start weights whiten xi
    """
)

XGBOOST: Final = _words(
    """
    base_score booster colsample_bylevel colsample_bynode colsample_bytree device early_stopping_rounds
    enable_categorical eval_metric feature_types feature_weights gamma grow_policy importance_type
    interaction_constraints learning_rate max_bin max_cat_threshold max_cat_to_onehot max_delta_step
    max_depth max_leaves min_child_weight missing monotone_constraints multi_strategy n_estimators n_jobs
    num_parallel_tree objective random_state reg_alpha reg_lambda sampling_method scale_pos_weight
    subsample tree_method validate_parameters verbosity updater refresh_leaf sketch_eps predictor rate_drop
    one_drop skip_drop sample_type normalize_type feature_selector top_k tweedie_variance_power huber_slope
    quantile_alpha max_cached_hist_node seed_per_iteration aft_loss_distribution
    aft_loss_distribution_scale lambdarank_num_pair_per_sample lambdarank_pair_method lambdarank_unbiased
    lambdarank_bias_norm ndcg_exp_gain disable_default_eval_metric process_type
    """
)

LIGHTGBM: Final = _words(
    """
    boosting_type class_weight colsample_bytree importance_type min_child_samples min_child_weight
    min_split_gain n_estimators n_jobs random_state reg_alpha reg_lambda subsample subsample_for_bin
    subsample_freq
    alpha auc_mu_weights bagging_by_query bagging_fraction bagging_freq bagging_seed bin_construct_sample_cnt
    boost_from_average boosting cat_l2 cat_smooth categorical_feature cegb_penalty_feature_coupled
    cegb_penalty_feature_lazy cegb_penalty_split cegb_tradeoff data_random_seed data_sample_strategy
    deterministic device_type drop_rate drop_seed early_stopping_min_delta early_stopping_round
    enable_bundle eval_at extra_seed extra_trees fair_c feature_contri feature_fraction
    feature_fraction_bynode feature_fraction_seed feature_pre_filter first_metric_only force_col_wise
    force_row_wise gpu_device_id gpu_platform_id gpu_use_dp histogram_pool_size interaction_constraints
    is_enable_sparse is_unbalance label_gain lambda_l1 lambda_l2 lambdarank_norm lambdarank_truncation_level
    learning_rate linear_lambda linear_tree max_bin max_bin_by_feature max_cat_threshold max_cat_to_onehot
    max_delta_step max_depth max_drop metric min_data_in_bin min_data_in_leaf min_data_per_group
    min_gain_to_split min_sum_hessian_in_leaf monotone_constraints monotone_constraints_method
    monotone_penalty multi_error_top_k neg_bagging_fraction num_class num_grad_quant_bins num_iterations
    num_leaves num_threads objective objective_seed other_rate path_smooth poisson_max_delta_step
    pos_bagging_fraction quant_train_renew_leaf reg_sqrt scale_pos_weight seed sigmoid skip_drop
    stochastic_rounding top_k top_rate tweedie_variance_power uniform_drop use_missing use_quantized_grad
    verbosity xgboost_dart_mode zero_as_missing
    """
)

CATBOOST: Final = _words(
    """
    device iterations learning_rate depth l2_leaf_reg model_size_reg rsm loss_function border_count
    feature_border_type fold_permutation_block od_pval od_wait od_type nan_mode counter_calc_method
    leaf_estimation_iterations leaf_estimation_method thread_count random_seed use_best_model
    best_model_min_trees verbose silent logging_level metric_period ctr_leaf_count_limit
    store_all_simple_ctr max_ctr_complexity has_time allow_const_label target_border one_hot_max_size
    random_strength random_score_type custom_metric eval_metric bagging_temperature fold_len_multiplier
    used_ram_limit gpu_ram_part approx_on_full_history boosting_type simple_ctr combinations_ctr
    per_feature_ctr task_type devices bootstrap_type subsample mvs_reg sampling_unit sampling_frequency
    sparse_features_conflict_fraction max_depth n_estimators num_boost_round num_trees colsample_bylevel
    random_state reg_lambda objective eta max_bin scale_pos_weight early_stopping_rounds grow_policy
    min_data_in_leaf min_child_samples max_leaves num_leaves score_function leaf_estimation_backtracking
    monotone_constraints feature_weights penalties_coefficient first_feature_use_penalties
    model_shrink_rate model_shrink_mode langevin diffusion_temperature posterior_sampling
    boost_from_average auto_class_weights class_weights classes_count
    """
)

_THREADS: Final = frozenset({"n_jobs", "nthread", "num_threads", "thread_count"})
"""How many threads of the machine a fit takes; other names of it are translated before."""


def listed(row: Algorithm) -> frozenset[str]:
    """The names that may be set for an algorithm, other spellings apart."""
    if row.format == "xgboost-ubj":
        return XGBOOST
    return {"lightgbm-text": LIGHTGBM, "catboost-cbm": CATBOOST}.get(row.format, SCIKIT_LEARN)


def of(row: Algorithm, names: Iterable[str]) -> set[str]:
    """Those of a library's names that may be set."""
    return set(names) & listed(row)


def check_value(row: Algorithm, name: str, value: object) -> None:
    """Raises bad_argument for what is no hyperparameter, whatever the library would do with it.

    LightGBM reads its parameters from one line of words: a value with a space in it would be
    another parameter.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            check_value(row, name, key)
            check_value(row, name, inner)
    elif isinstance(value, list | tuple):
        if len(value) > _LONGEST:
            raise _refused(row, name, f"a list of {len(value)} values")
        for inner in value:
            check_value(row, name, inner)
    elif isinstance(value, str):
        if len(value) > _LONGEST:
            raise _refused(row, name, f"a text of {len(value)} characters")
        if "\0" in value or "/" in value or "\\" in value:
            raise _refused(row, name, f'"{value[:60]}"')
        if row.format == "lightgbm-text" and (
            "=" in value or "#" in value or any(c.isspace() for c in value)
        ):
            raise _refused(row, name, f'"{value[:60]}"')


def check_names(row: Algorithm, settings: Mapping[str, Any]) -> None:
    """The last look, at what is about to be given to the library."""
    strange = sorted(set(settings) - listed(row))
    if strange:
        raise WireError(
            "bad_argument",
            f"{row.name} takes no hyperparameter `{strange[0]}` from a call",
            hint="it is about the machine, not about the model",
        )


def bounded_threads(settings: dict[str, Any], most: int) -> dict[str, Any]:
    """The same, with no more threads than a fit may have; as many as it may where all are asked for."""
    for name in _THREADS & set(settings):
        asked = settings[name]
        if asked is not None:
            wanted = asked if isinstance(asked, int) and not isinstance(asked, bool) else 0
            settings[name] = min(wanted, most) if wanted > 0 else most
    return settings


def _refused(row: Algorithm, name: str, what: str) -> WireError:
    return WireError(
        "bad_argument",
        f"{what} is no value of {row.name}'s hyperparameter `{name}`",
        hint="numbers, booleans and the library's own words are",
    )
