-- Metrics of scikit-learn for two arrays, as PostgresML has them; computed by the server.
CREATE FUNCTION pgml.sklearn_f1_score(ground_truth real[], y_hat real[]) RETURNS real
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
BEGIN
    RETURN (
        SELECT m.result::real FROM pgml.metrics AS m
        WHERE m.ground_truth OPERATOR(pg_catalog.=) sklearn_f1_score.ground_truth
          AND m.y_hat OPERATOR(pg_catalog.=) sklearn_f1_score.y_hat
          AND m.kind OPERATOR(pg_catalog.=) 'f1_score'::pg_catalog.text);
END
$$;
COMMENT ON FUNCTION pgml.sklearn_f1_score(real[], real[]) IS
    'F1 of predicted classes: of the positive class where there are two, else the macro average';
GRANT EXECUTE ON FUNCTION pgml.sklearn_f1_score(real[], real[]) TO pgml_user;

CREATE FUNCTION pgml.sklearn_r2_score(ground_truth real[], y_hat real[]) RETURNS real
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
BEGIN
    RETURN (
        SELECT m.result::real FROM pgml.metrics AS m
        WHERE m.ground_truth OPERATOR(pg_catalog.=) sklearn_r2_score.ground_truth
          AND m.y_hat OPERATOR(pg_catalog.=) sklearn_r2_score.y_hat
          AND m.kind OPERATOR(pg_catalog.=) 'r2_score'::pg_catalog.text);
END
$$;
COMMENT ON FUNCTION pgml.sklearn_r2_score(real[], real[]) IS 'R2 of predicted values';
GRANT EXECUTE ON FUNCTION pgml.sklearn_r2_score(real[], real[]) TO pgml_user;

CREATE FUNCTION pgml.sklearn_regression_metrics(ground_truth real[], y_hat real[]) RETURNS jsonb
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
BEGIN
    RETURN (
        SELECT m.result FROM pgml.metrics AS m
        WHERE m.ground_truth OPERATOR(pg_catalog.=) sklearn_regression_metrics.ground_truth
          AND m.y_hat OPERATOR(pg_catalog.=) sklearn_regression_metrics.y_hat
          AND m.kind OPERATOR(pg_catalog.=) 'regression_metrics'::pg_catalog.text);
END
$$;
COMMENT ON FUNCTION pgml.sklearn_regression_metrics(real[], real[]) IS 'r2, mse and mae of predicted values';
GRANT EXECUTE ON FUNCTION pgml.sklearn_regression_metrics(real[], real[]) TO pgml_user;

CREATE FUNCTION pgml.sklearn_classification_metrics(ground_truth real[], y_hat real[], num_classes bigint) RETURNS jsonb
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE COST 10000
AS $$
BEGIN
    RETURN (
        SELECT m.result FROM pgml.metrics AS m
        WHERE m.ground_truth OPERATOR(pg_catalog.=) sklearn_classification_metrics.ground_truth
          AND m.y_hat OPERATOR(pg_catalog.=) sklearn_classification_metrics.y_hat
          AND m.num_classes OPERATOR(pg_catalog.=) sklearn_classification_metrics.num_classes
          AND m.kind OPERATOR(pg_catalog.=) 'classification_metrics'::pg_catalog.text);
END
$$;
COMMENT ON FUNCTION pgml.sklearn_classification_metrics(real[], real[], bigint) IS
    'f1, f1_micro, precision, recall, accuracy, mcc and, of two classes, roc_auc of predicted classes';
GRANT EXECUTE ON FUNCTION pgml.sklearn_classification_metrics(real[], real[], bigint) TO pgml_user;
