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

-- A cast by function rather than INOUT: a word that there is not is answered with those that
-- there are. A literal is no text yet and is read by Postgres itself, which names the type.
DO $$
DECLARE
    kind name;
    reader name;
    made text;
BEGIN
    FOREACH kind IN ARRAY ARRAY['task', 'algorithm', 'runtime', 'strategy', 'search', 'sampling', 'status']::name[] LOOP
        reader := 'to_' || kind;
        made := pg_catalog.format('pgml.%I(text)', reader);
        EXECUTE pg_catalog.format($outer$
            CREATE FUNCTION pgml.%2$I(word text) RETURNS pgml.%1$I
                LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
                SET search_path = pg_catalog, pg_temp
            AS $body$
            DECLARE
                found_value pgml.%1$I;
            BEGIN
                SELECT v INTO found_value FROM unnest(enum_range(NULL::pgml.%1$I)) AS v WHERE v::text = %2$I.word;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'there is no %1$s "%%"', %2$I.word
                        USING ERRCODE = 'invalid_parameter_value', HINT = format('one of: %%s', (
                            SELECT string_agg(v::text, ', ') FROM unnest(enum_range(NULL::pgml.%1$I)) AS v));
                END IF;
                RETURN found_value;
            END
            $body$ $outer$, kind, reader);
        EXECUTE pg_catalog.format('COMMENT ON FUNCTION %s IS %L', made,
            pg_catalog.format('the %s of that name; raises 22023 with those that there are', kind));
        EXECUTE pg_catalog.format('GRANT EXECUTE ON FUNCTION %s TO pgml_user', made);
        EXECUTE pg_catalog.format('CREATE CAST (text AS pgml.%I) WITH FUNCTION %s AS IMPLICIT', kind, made);
        EXECUTE pg_catalog.format('CREATE CAST (varchar AS pgml.%I) WITH FUNCTION %s AS IMPLICIT', kind, made);
        EXECUTE pg_catalog.format('COMMENT ON CAST (text AS pgml.%I) IS %L', kind, 'for text parameters of drivers');
        EXECUTE pg_catalog.format('COMMENT ON CAST (varchar AS pgml.%I) IS %L', kind, 'for text parameters of drivers');
    END LOOP;
END
$$;
