-- Scoring a whole query or table, streamed: plain SQL bodies that are inlined in FROM.
--
-- Not STRICT, no SET, STABLE: any of these would keep the planner from inlining, and the rows
-- would be collected first. The query runs in the caller's session, under the caller's rights.
CREATE FUNCTION pgml.predict_rows(project_name text, query text, on_error text DEFAULT 'raise')
    RETURNS TABLE (key text, prediction real, predictions real[], probabilities real[], label text, score real, error text)
    LANGUAGE sql STABLE PARALLEL UNSAFE COST 200000 ROWS 1000
BEGIN ATOMIC
    SELECT r.key, r.prediction, r.predictions, r.probabilities, r.label, r.score, r.error
    FROM pgml.prediction_rows AS r
    WHERE r.artifact = pgml.serving_artifact(predict_rows.project_name)
      AND r.query = predict_rows.query AND r.on_error = predict_rows.on_error;
END;
COMMENT ON FUNCTION pgml.predict_rows(text, text, text) IS
    'scores a query of a key and the features, by the deployed model of a project; with the preprocessing of the training; in any order';
GRANT EXECUTE ON FUNCTION pgml.predict_rows(text, text, text) TO pgml_user;

CREATE FUNCTION pgml.predict_rows(model_id bigint, query text, on_error text DEFAULT 'raise')
    RETURNS TABLE (key text, prediction real, predictions real[], probabilities real[], label text, score real, error text)
    LANGUAGE sql STABLE PARALLEL UNSAFE COST 200000 ROWS 1000
BEGIN ATOMIC
    SELECT r.key, r.prediction, r.predictions, r.probabilities, r.label, r.score, r.error
    FROM pgml.prediction_rows AS r
    WHERE r.artifact = pgml.model_artifact(predict_rows.model_id)
      AND r.query = predict_rows.query AND r.on_error = predict_rows.on_error;
END;
COMMENT ON FUNCTION pgml.predict_rows(bigint, text, text) IS
    'scores a query of a key and the features, by one model; with the preprocessing of the training; in any order';
GRANT EXECUTE ON FUNCTION pgml.predict_rows(bigint, text, text) TO pgml_user;
