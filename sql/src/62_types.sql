-- The words of PostgresML as enums, and casts that let a driver's text parameter be one.
--
-- The values are the union of what its installs have, fresh and upgraded, in its order, and
-- after them our own. The casts are implicit: a function argument takes no other. Only
-- functions of this schema have arguments of these types, so nothing else changes meaning.
CREATE TYPE pgml.task AS ENUM (
    'regression', 'classification', 'question_answering', 'summarization', 'translation',
    'text_classification', 'text_generation', 'text2text', 'clustering', 'embedding',
    'text_pair_classification', 'conversation', 'decomposition', 'text-pair-classification',
    'anomaly', 'forecasting'
);
COMMENT ON TYPE pgml.task IS 'what a project is for';

CREATE TYPE pgml.algorithm AS ENUM (
    'linear', 'xgboost', 'xgboost_random_forest', 'svm', 'lasso', 'elastic_net', 'ridge', 'kmeans',
    'dbscan', 'knn', 'random_forest', 'least_angle', 'lasso_least_angle', 'orthogonal_matching_pursuit',
    'bayesian_ridge', 'automatic_relevance_determination', 'stochastic_gradient_descent', 'perceptron',
    'passive_aggressive', 'ransac', 'theil_sen', 'huber', 'quantile', 'kernel_ridge', 'gaussian_process',
    'nu_svm', 'ada_boost', 'bagging', 'extra_trees', 'gradient_boosting_trees', 'hist_gradient_boosting',
    'linear_svm', 'lightgbm', 'transformers', 'affinity_propagation', 'birch', 'feature_agglomeration',
    'mini_batch_kmeans', 'mean_shift', 'optics', 'spectral', 'spectral_bi', 'spectral_co', 'catboost',
    'pca', 'agglomerative',
    'isolation_forest', 'local_outlier_factor', 'one_class_svm', 'ets'
);
COMMENT ON TYPE pgml.algorithm IS 'how a model is trained';

CREATE TYPE pgml.runtime AS ENUM ('python', 'rust', 'openai');
COMMENT ON TYPE pgml.runtime IS 'PostgresML''s word for which library trains; kept for its calls';

CREATE TYPE pgml.strategy AS ENUM ('new_score', 'best_score', 'most_recent', 'rollback', 'specific');
COMMENT ON TYPE pgml.strategy IS 'why a model was deployed';

CREATE TYPE pgml.search AS ENUM ('grid', 'random');
COMMENT ON TYPE pgml.search IS 'how hyperparameters are searched';

CREATE TYPE pgml.sampling AS ENUM ('random', 'last', 'stratified', 'first');
COMMENT ON TYPE pgml.sampling IS 'which rows are kept for the test';

CREATE TYPE pgml.status AS ENUM ('in_progress', 'successful', 'failed');
COMMENT ON TYPE pgml.status IS 'state of a model';

CREATE CAST (text AS pgml.task) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (text AS pgml.task) IS 'for text parameters of drivers';
CREATE CAST (varchar AS pgml.task) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (varchar AS pgml.task) IS 'for text parameters of drivers';
CREATE CAST (text AS pgml.algorithm) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (text AS pgml.algorithm) IS 'for text parameters of drivers';
CREATE CAST (varchar AS pgml.algorithm) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (varchar AS pgml.algorithm) IS 'for text parameters of drivers';
CREATE CAST (text AS pgml.runtime) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (text AS pgml.runtime) IS 'for text parameters of drivers';
CREATE CAST (varchar AS pgml.runtime) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (varchar AS pgml.runtime) IS 'for text parameters of drivers';
CREATE CAST (text AS pgml.strategy) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (text AS pgml.strategy) IS 'for text parameters of drivers';
CREATE CAST (varchar AS pgml.strategy) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (varchar AS pgml.strategy) IS 'for text parameters of drivers';
CREATE CAST (text AS pgml.search) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (text AS pgml.search) IS 'for text parameters of drivers';
CREATE CAST (varchar AS pgml.search) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (varchar AS pgml.search) IS 'for text parameters of drivers';
CREATE CAST (text AS pgml.sampling) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (text AS pgml.sampling) IS 'for text parameters of drivers';
CREATE CAST (varchar AS pgml.sampling) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (varchar AS pgml.sampling) IS 'for text parameters of drivers';
CREATE CAST (text AS pgml.status) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (text AS pgml.status) IS 'for text parameters of drivers';
CREATE CAST (varchar AS pgml.status) WITH INOUT AS IMPLICIT;
COMMENT ON CAST (varchar AS pgml.status) IS 'for text parameters of drivers';
