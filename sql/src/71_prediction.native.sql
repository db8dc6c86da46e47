-- Verbs over trained models as foreign tables; the functions over them are doors. A model is named
-- by the hash of its artifact. Where the server does not have it, the host sends it from pgml.files,
-- under the caller's own rights and snapshot: so it works on a standby and after any restart.
CREATE FOREIGN TABLE pgml.prediction (
    artifact text OPTIONS (input 'required', batch 'false'),
    features real[] OPTIONS (input 'optional'),
    "row" text OPTIONS (input 'optional'),
    ordinal bigint,
    prediction real,
    predictions real[],
    probabilities real[],
    label text,
    labels text[],
    score real,
    scores real[],
    components real[]
) SERVER pgannex OPTIONS (
    verb 'predict', model_column 'artifact', authorize 'pgml.authorize', authorize_depends 'pgml.model_grants',
    artifact 'SELECT f.data FROM pgml.files AS f WHERE f.model_id OPERATOR(pg_catalog.=) (SELECT pg_catalog.min(m.id) FROM pgml.models AS m WHERE m.artifact OPERATOR(pg_catalog.=) $1) AND f.path OPERATOR(pg_catalog.=) ''model.annex'' ORDER BY f.part'
);
COMMENT ON FOREIGN TABLE pgml.prediction IS
    'what a trained model says of one row: WHERE artifact = … AND (features = … or "row" = …)';
COMMENT ON COLUMN pgml.prediction.artifact IS 'hash of the model''s artifact: pgml.models.artifact (required)';
COMMENT ON COLUMN pgml.prediction.features IS
    'numbers of one row, or of several rows one after the other; not preprocessed';
COMMENT ON COLUMN pgml.prediction."row" IS
    'one row as JSON text, an object by column names or an array; preprocessed as in training';
COMMENT ON COLUMN pgml.prediction.ordinal IS 'position in = ANY (array), from 1';
COMMENT ON COLUMN pgml.prediction.prediction IS 'the value, class or cluster of the first row';
COMMENT ON COLUMN pgml.prediction.predictions IS 'the same for every row; of a joint model for every target';
COMMENT ON COLUMN pgml.prediction.probabilities IS 'probability of each class, row after row, in the order of classes';
COMMENT ON COLUMN pgml.prediction.label IS 'the class of the first row as the text it was trained with';
COMMENT ON COLUMN pgml.prediction.labels IS 'the same for every row';
COMMENT ON COLUMN pgml.prediction.score IS 'score of an anomaly for the first row: the higher, the stranger';
COMMENT ON COLUMN pgml.prediction.scores IS 'the same for every row';
COMMENT ON COLUMN pgml.prediction.components IS 'coordinates of the row after decomposition';
GRANT SELECT ON pgml.prediction TO pgml_user;

CREATE FOREIGN TABLE pgml.prediction_rows (
    artifact text OPTIONS (input 'required', batch 'false'),
    query text OPTIONS (input 'required', batch 'false'),
    on_error text OPTIONS (input 'optional', batch 'false'),
    key text,
    prediction real,
    predictions real[],
    probabilities real[],
    label text,
    score real,
    error text
) SERVER pgannex OPTIONS (
    verb 'predict', model_column 'artifact', authorize 'pgml.authorize', authorize_depends 'pgml.model_grants',
    pull 'query', stream_columns 'key text, *', lane 'bulk', unordered 'true',
    artifact 'SELECT f.data FROM pgml.files AS f WHERE f.model_id OPERATOR(pg_catalog.=) (SELECT pg_catalog.min(m.id) FROM pgml.models AS m WHERE m.artifact OPERATOR(pg_catalog.=) $1) AND f.path OPERATOR(pg_catalog.=) ''model.annex'' ORDER BY f.part'
);
COMMENT ON FOREIGN TABLE pgml.prediction_rows IS
    'one row per row of query, a SELECT of a key and the columns of the model, or a key and an array; in any order';
COMMENT ON COLUMN pgml.prediction_rows.artifact IS 'hash of the model''s artifact: pgml.models.artifact (required)';
COMMENT ON COLUMN pgml.prediction_rows.query IS
    'a SELECT of the key and the model''s columns by their names, or of the key and one array of features (required)';
COMMENT ON COLUMN pgml.prediction_rows.on_error IS
    'raise (default), null: a row that fails has no prediction, or status: and error says why';
COMMENT ON COLUMN pgml.prediction_rows.key IS 'first column of the query, as text';
COMMENT ON COLUMN pgml.prediction_rows.prediction IS 'the value, class or cluster';
COMMENT ON COLUMN pgml.prediction_rows.predictions IS 'of a joint model the value of every target';
COMMENT ON COLUMN pgml.prediction_rows.probabilities IS 'probability of each class';
COMMENT ON COLUMN pgml.prediction_rows.label IS 'the class as the text it was trained with';
COMMENT ON COLUMN pgml.prediction_rows.score IS 'score of an anomaly: the higher, the stranger';
COMMENT ON COLUMN pgml.prediction_rows.error IS 'why this row has no prediction, with on_error = status';
GRANT SELECT ON pgml.prediction_rows TO pgml_user;

CREATE FOREIGN TABLE pgml.forecasting (
    artifact text OPTIONS (input 'required', batch 'false'),
    horizon integer OPTIONS (input 'optional', batch 'false'),
    "row" text OPTIONS (input 'optional', batch 'false'),
    series text,
    step integer,
    at text,
    prediction double precision,
    lower double precision,
    upper double precision
) SERVER pgannex OPTIONS (
    verb 'forecast', model_column 'artifact', authorize 'pgml.authorize', authorize_depends 'pgml.model_grants',
    artifact 'SELECT f.data FROM pgml.files AS f WHERE f.model_id OPERATOR(pg_catalog.=) (SELECT pg_catalog.min(m.id) FROM pgml.models AS m WHERE m.artifact OPERATOR(pg_catalog.=) $1) AND f.path OPERATOR(pg_catalog.=) ''model.annex'' ORDER BY f.part'
);
COMMENT ON FOREIGN TABLE pgml.forecasting IS 'the next steps of each series that a forecasting model was trained on';
COMMENT ON COLUMN pgml.forecasting.artifact IS 'hash of the model''s artifact: pgml.models.artifact (required)';
COMMENT ON COLUMN pgml.forecasting.horizon IS 'how many steps; default: the horizon of training';
COMMENT ON COLUMN pgml.forecasting."row" IS
    'JSON text: the covariates of the steps to come, where the model was trained with any';
COMMENT ON COLUMN pgml.forecasting.series IS 'the series, NULL where there is only one';
COMMENT ON COLUMN pgml.forecasting.step IS 'the step after the last one that was seen, from 1';
COMMENT ON COLUMN pgml.forecasting.at IS 'the time of the step, in the form of the column it was trained on';
COMMENT ON COLUMN pgml.forecasting.prediction IS 'the value expected';
COMMENT ON COLUMN pgml.forecasting.lower IS 'lower end of the interval';
COMMENT ON COLUMN pgml.forecasting.upper IS 'upper end of the interval';
GRANT SELECT ON pgml.forecasting TO pgml_user;

CREATE FOREIGN TABLE pgml.metrics (
    ground_truth real[] OPTIONS (input 'required', batch 'false'),
    y_hat real[] OPTIONS (input 'required', batch 'false'),
    num_classes bigint OPTIONS (input 'optional', batch 'false'),
    kind text OPTIONS (input 'required', batch 'false'),
    result jsonb
) SERVER pgannex OPTIONS (verb 'metrics', authorize 'pgml.authorize');
COMMENT ON FOREIGN TABLE pgml.metrics IS 'how well predictions fit what was observed, by scikit-learn';
COMMENT ON COLUMN pgml.metrics.ground_truth IS 'what was observed (required)';
COMMENT ON COLUMN pgml.metrics.y_hat IS 'what was predicted, in the same order (required)';
COMMENT ON COLUMN pgml.metrics.num_classes IS 'how many classes there are; default: as many as are found';
COMMENT ON COLUMN pgml.metrics.kind IS
    'r2_score, f1_score, classification_score, confusion_matrix, regression_score … (required)';
COMMENT ON COLUMN pgml.metrics.result IS 'a number, an object or a matrix, by kind';
GRANT SELECT ON pgml.metrics TO pgml_user;

CREATE FOREIGN TABLE pgml.environment (
    question text OPTIONS (input 'required', batch 'false'),
    argument text OPTIONS (input 'optional', batch 'false'),
    answer text
) SERVER pgannex OPTIONS (verb 'environment', authorize 'pgml.authorize');
COMMENT ON FOREIGN TABLE pgml.environment IS 'what the Python is that trains and predicts';
COMMENT ON COLUMN pgml.environment.question IS 'python_version, package_version, pip_freeze, cuda … (required)';
COMMENT ON COLUMN pgml.environment.argument IS 'of package_version the name of the package';
COMMENT ON COLUMN pgml.environment.answer IS 'one row per line of the answer';
GRANT SELECT ON pgml.environment TO pgml_user;
