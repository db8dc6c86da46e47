-- Where trained models live: PostgresML's tables, column for column, and after its columns ours.
--
-- Rows belong to a role: who may do what with them is in 65_registry_rights.sql. Timestamps
-- without time zone are PostgresML's. pg_dump takes the rows along, for they are user data.
CREATE TABLE pgml.projects (
    id bigserial PRIMARY KEY,
    name text NOT NULL,
    task pgml.task NOT NULL,
    created_at timestamp without time zone NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamp without time zone NOT NULL DEFAULT clock_timestamp(),
    owner regrole NOT NULL DEFAULT quote_ident(CURRENT_USER)::regrole,
    serving text,
    serving_model bigint
);
CREATE UNIQUE INDEX projects_name_idx ON pgml.projects (name);
COMMENT ON TABLE pgml.projects IS 'what is being predicted: a name for all versions of a model';
COMMENT ON COLUMN pgml.projects.id IS 'number of the project';
COMMENT ON COLUMN pgml.projects.name IS 'its name, unique in the database';
COMMENT ON COLUMN pgml.projects.task IS 'what it is for';
COMMENT ON COLUMN pgml.projects.created_at IS 'when it was made';
COMMENT ON COLUMN pgml.projects.updated_at IS 'when it was changed last';
COMMENT ON COLUMN pgml.projects.owner IS 'the role that it belongs to';
COMMENT ON COLUMN pgml.projects.serving IS 'hash of the artifact of the deployed model; kept by a trigger';
COMMENT ON COLUMN pgml.projects.serving_model IS 'the deployed model; kept by a trigger';
COMMENT ON SEQUENCE pgml.projects_id_seq IS 'numbers of projects';

CREATE TABLE pgml.snapshots (
    id bigserial PRIMARY KEY,
    relation_name text NOT NULL,
    y_column_name text[],
    test_size real NOT NULL,
    test_sampling pgml.sampling NOT NULL,
    status text NOT NULL,
    columns jsonb,
    analysis jsonb,
    created_at timestamp without time zone NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamp without time zone NOT NULL DEFAULT clock_timestamp(),
    materialized boolean DEFAULT false,
    owner regrole NOT NULL DEFAULT quote_ident(CURRENT_USER)::regrole
);
COMMENT ON TABLE pgml.snapshots IS 'what a model was trained on: a relation, its columns and how it is split';
COMMENT ON COLUMN pgml.snapshots.id IS 'number of the snapshot';
COMMENT ON COLUMN pgml.snapshots.relation_name IS 'the relation, with its schema';
COMMENT ON COLUMN pgml.snapshots.y_column_name IS 'the columns that are to be predicted';
COMMENT ON COLUMN pgml.snapshots.test_size IS 'rows kept for the test: a share up to 1, else a number';
COMMENT ON COLUMN pgml.snapshots.test_sampling IS 'which rows are kept for the test';
COMMENT ON COLUMN pgml.snapshots.status IS 'in_progress, or successful';
COMMENT ON COLUMN pgml.snapshots.columns IS 'an array: each column with its type, preprocessing and statistics';
COMMENT ON COLUMN pgml.snapshots.analysis IS 'figures of the whole, such as samples';
COMMENT ON COLUMN pgml.snapshots.created_at IS 'when it was made';
COMMENT ON COLUMN pgml.snapshots.updated_at IS 'when it was changed last';
COMMENT ON COLUMN pgml.snapshots.materialized IS 'whether the rows are kept in pgml.snapshot_ID';
COMMENT ON COLUMN pgml.snapshots.owner IS 'the role that it belongs to';
COMMENT ON SEQUENCE pgml.snapshots_id_seq IS 'numbers of snapshots';

CREATE TABLE pgml.models (
    id bigserial PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES pgml.projects ON DELETE CASCADE,
    snapshot_id bigint REFERENCES pgml.snapshots ON DELETE SET NULL,
    num_features integer NOT NULL,
    algorithm text NOT NULL,
    runtime pgml.runtime DEFAULT 'python'::pgml.runtime,
    hyperparams jsonb NOT NULL,
    status text NOT NULL,
    metrics jsonb,
    search text,
    search_params jsonb NOT NULL,
    search_args jsonb NOT NULL,
    created_at timestamp without time zone NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamp without time zone NOT NULL DEFAULT clock_timestamp(),
    owner regrole NOT NULL DEFAULT quote_ident(CURRENT_USER)::regrole,
    artifact text,
    rows bigint,
    rows_sha256 text,
    seed bigint,
    versions jsonb,
    reason text
);
CREATE INDEX models_project_id_idx ON pgml.models (project_id);
CREATE INDEX models_snapshot_id_idx ON pgml.models (snapshot_id);
CREATE INDEX models_artifact_idx ON pgml.models (artifact);
COMMENT ON TABLE pgml.models IS 'the versions of each project: how each was trained and how good it is';
COMMENT ON COLUMN pgml.models.id IS 'number of the model';
COMMENT ON COLUMN pgml.models.project_id IS 'the project that it is a version of';
COMMENT ON COLUMN pgml.models.snapshot_id IS 'what it was trained on';
COMMENT ON COLUMN pgml.models.num_features IS 'how many numbers a row has';
COMMENT ON COLUMN pgml.models.algorithm IS 'how it was trained';
COMMENT ON COLUMN pgml.models.runtime IS 'PostgresML''s word for which library trained it';
COMMENT ON COLUMN pgml.models.hyperparams IS 'what the algorithm was told; the best of a search';
COMMENT ON COLUMN pgml.models.status IS 'in_progress, successful or failed';
COMMENT ON COLUMN pgml.models.metrics IS 'how good it is on the rows kept for the test';
COMMENT ON COLUMN pgml.models.search IS 'grid, random, or NULL for no search';
COMMENT ON COLUMN pgml.models.search_params IS 'hyperparameters and the values that were tried';
COMMENT ON COLUMN pgml.models.search_args IS 'n_iter and cv of the search';
COMMENT ON COLUMN pgml.models.created_at IS 'when it was trained';
COMMENT ON COLUMN pgml.models.updated_at IS 'when the row was changed last';
COMMENT ON COLUMN pgml.models.owner IS 'the role that it belongs to';
COMMENT ON COLUMN pgml.models.artifact IS 'sha256 of the signed artifact in pgml.files; NULL for a model that was not trained here';
COMMENT ON COLUMN pgml.models.rows IS 'how many rows came from the query';
COMMENT ON COLUMN pgml.models.rows_sha256 IS 'checksum of these rows';
COMMENT ON COLUMN pgml.models.seed IS 'seed of the split and of the fit';
COMMENT ON COLUMN pgml.models.versions IS 'versions of the libraries that trained it';
COMMENT ON COLUMN pgml.models.reason IS 'why it was not deployed automatically, where something is wrong with it';
COMMENT ON SEQUENCE pgml.models_id_seq IS 'numbers of models';

CREATE TABLE pgml.deployments (
    id bigserial PRIMARY KEY,
    project_id bigint NOT NULL REFERENCES pgml.projects ON DELETE CASCADE,
    model_id bigint NOT NULL REFERENCES pgml.models ON DELETE CASCADE,
    strategy pgml.strategy NOT NULL,
    created_at timestamp without time zone NOT NULL DEFAULT clock_timestamp(),
    owner regrole NOT NULL DEFAULT quote_ident(CURRENT_USER)::regrole
);
CREATE INDEX deployments_project_id_created_at_idx ON pgml.deployments (project_id, created_at);
CREATE INDEX deployments_model_id_created_at_idx ON pgml.deployments (model_id);
COMMENT ON TABLE pgml.deployments IS 'which model served a project since when; the latest row of a project counts';
COMMENT ON COLUMN pgml.deployments.id IS 'number of the deployment';
COMMENT ON COLUMN pgml.deployments.project_id IS 'the project';
COMMENT ON COLUMN pgml.deployments.model_id IS 'the model that predicts for it';
COMMENT ON COLUMN pgml.deployments.strategy IS 'why this model';
COMMENT ON COLUMN pgml.deployments.created_at IS 'since when';
COMMENT ON COLUMN pgml.deployments.owner IS 'the role that deployed it';
COMMENT ON SEQUENCE pgml.deployments_id_seq IS 'numbers of deployments';

CREATE TABLE pgml.files (
    id bigserial PRIMARY KEY,
    model_id bigint NOT NULL REFERENCES pgml.models ON DELETE CASCADE,
    path text NOT NULL,
    part integer NOT NULL,
    created_at timestamp without time zone NOT NULL DEFAULT clock_timestamp(),
    updated_at timestamp without time zone NOT NULL DEFAULT clock_timestamp(),
    data bytea NOT NULL,
    owner regrole NOT NULL DEFAULT quote_ident(CURRENT_USER)::regrole
);
-- What the server signed is compressed where that pays; TOAST would only try again.
ALTER TABLE pgml.files ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX files_model_id_path_part_idx ON pgml.files (model_id, path, part);
COMMENT ON TABLE pgml.files IS 'the bytes of trained models, in parts of at most 16 MiB';
COMMENT ON COLUMN pgml.files.id IS 'number of the part';
COMMENT ON COLUMN pgml.files.model_id IS 'the model';
COMMENT ON COLUMN pgml.files.path IS 'model.annex for the signed artifact of a model trained here';
COMMENT ON COLUMN pgml.files.part IS 'position of the part, from 0';
COMMENT ON COLUMN pgml.files.created_at IS 'when it was stored';
COMMENT ON COLUMN pgml.files.updated_at IS 'when it was changed last';
COMMENT ON COLUMN pgml.files.data IS 'the bytes';
COMMENT ON COLUMN pgml.files.owner IS 'the role that it belongs to';
COMMENT ON SEQUENCE pgml.files_id_seq IS 'numbers of parts';

CREATE TABLE pgml.logs (
    id serial PRIMARY KEY,
    model_id bigint,
    project_id bigint,
    created_at timestamp without time zone DEFAULT CURRENT_TIMESTAMP,
    logs jsonb
);
CREATE INDEX logs_project_id_idx ON pgml.logs (project_id);
COMMENT ON TABLE pgml.logs IS 'what a long training said as it went';
COMMENT ON COLUMN pgml.logs.id IS 'number of the line';
COMMENT ON COLUMN pgml.logs.model_id IS 'the model that was trained';
COMMENT ON COLUMN pgml.logs.project_id IS 'its project';
COMMENT ON COLUMN pgml.logs.created_at IS 'when it was said';
COMMENT ON COLUMN pgml.logs.logs IS 'the figures';
COMMENT ON SEQUENCE pgml.logs_id_seq IS 'numbers of lines';

DO $$
DECLARE
    kept name;
BEGIN
    FOREACH kept IN ARRAY ARRAY['projects', 'snapshots', 'models', 'deployments', 'files', 'logs']::name[] LOOP
        PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('pgml.%I', kept)::regclass, '');
        PERFORM pg_catalog.pg_extension_config_dump(pg_catalog.format('pgml.%I', kept || '_id_seq')::regclass, '');
    END LOOP;
END
$$;
