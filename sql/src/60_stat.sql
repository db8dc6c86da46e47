-- What the server is doing, in the pg_stat idiom: asked of the server at each read, kept by
-- it, written nowhere. The server shows a role its own requests; the grant of
-- pgml.authorize lifts that for pgml_admin and pg_read_all_stats.

CREATE FOREIGN TABLE pgml.stat_models (
    model text,
    instance integer,
    state text,
    engine text,
    device text,
    dtype text,
    revision text,
    source text,
    aliases text,
    dimensions integer,
    max_tokens integer,
    pooling text,
    prompts text,
    pinned boolean,
    pid integer,
    memory_bytes bigint,
    queued integer,
    in_flight integer,
    requests bigint,
    rows bigint,
    tokens bigint,
    batches bigint,
    errors bigint,
    refused bigint,
    restarts integer,
    compute_seconds double precision,
    queue_seconds double precision,
    loaded_at timestamptz,
    last_used_at timestamptz,
    last_error text
) SERVER pgannex OPTIONS (verb 'stat_models', authorize 'pgml.authorize');
COMMENT ON FOREIGN TABLE pgml.stat_models IS
    'one row per instance of a model: where it runs, what it did; of trained models those used by the own role, or all for pgml_admin';
COMMENT ON COLUMN pgml.stat_models.model IS 'name of the model';
COMMENT ON COLUMN pgml.stat_models.instance IS 'number of the instance, from 0';
COMMENT ON COLUMN pgml.stat_models.state IS 'unloaded, loading, ready, restarting, stopping or failed';
COMMENT ON COLUMN pgml.stat_models.engine IS 'engine that serves it';
COMMENT ON COLUMN pgml.stat_models.device IS 'cpu, or cuda:N';
COMMENT ON COLUMN pgml.stat_models.dtype IS 'type of the weights in use';
COMMENT ON COLUMN pgml.stat_models.revision IS 'revision that is configured';
COMMENT ON COLUMN pgml.stat_models.source IS
    'folder or hub id that it is loaded from; of a trained model its artifact, for pgml_admin the whole hash';
COMMENT ON COLUMN pgml.stat_models.aliases IS 'other names of the model';
COMMENT ON COLUMN pgml.stat_models.dimensions IS 'length of an embedding';
COMMENT ON COLUMN pgml.stat_models.max_tokens IS 'texts are truncated to this';
COMMENT ON COLUMN pgml.stat_models.pooling IS 'how token vectors become one';
COMMENT ON COLUMN pgml.stat_models.prompts IS 'names of prompts that the model brings, for prompt_name';
COMMENT ON COLUMN pgml.stat_models.pinned IS 'loaded at start and never evicted';
COMMENT ON COLUMN pgml.stat_models.pid IS 'process id of the worker';
COMMENT ON COLUMN pgml.stat_models.memory_bytes IS 'memory that the model takes on its device';
COMMENT ON COLUMN pgml.stat_models.queued IS 'requests that wait for the model';
COMMENT ON COLUMN pgml.stat_models.in_flight IS 'requests that are being computed';
COMMENT ON COLUMN pgml.stat_models.requests IS 'requests served';
COMMENT ON COLUMN pgml.stat_models.rows IS 'texts embedded';
COMMENT ON COLUMN pgml.stat_models.tokens IS 'tokens computed';
COMMENT ON COLUMN pgml.stat_models.batches IS 'batches computed';
COMMENT ON COLUMN pgml.stat_models.errors IS 'requests that failed';
COMMENT ON COLUMN pgml.stat_models.refused IS 'requests refused because the queue was full';
COMMENT ON COLUMN pgml.stat_models.restarts IS 'how often the worker was restarted';
COMMENT ON COLUMN pgml.stat_models.compute_seconds IS 'time that the engine computed';
COMMENT ON COLUMN pgml.stat_models.queue_seconds IS 'time that requests waited';
COMMENT ON COLUMN pgml.stat_models.loaded_at IS 'when it was loaded';
COMMENT ON COLUMN pgml.stat_models.last_used_at IS 'when it last served a request';
COMMENT ON COLUMN pgml.stat_models.last_error IS 'why it failed last';
GRANT SELECT ON pgml.stat_models TO pgml_user, pg_monitor;

CREATE FOREIGN TABLE pgml.stat_activity (
    pid integer,
    role text,
    database text,
    application_name text,
    client text,
    door text,
    verb text,
    model text,
    lane text,
    state text,
    ahead integer,
    rows_in bigint,
    rows bigint,
    progress real,
    started_at timestamptz,
    deadline_at timestamptz
) SERVER pgannex OPTIONS (verb 'stat_activity', authorize 'pgml.authorize');
COMMENT ON FOREIGN TABLE pgml.stat_activity IS
    'one row per running request and per background training: those of the own role, or all for pgml_admin and pg_read_all_stats';
COMMENT ON COLUMN pgml.stat_activity.pid IS 'process id of the Postgres backend, or of the HTTP client; NULL for a background training';
COMMENT ON COLUMN pgml.stat_activity.role IS 'who asks';
COMMENT ON COLUMN pgml.stat_activity.database IS 'from which database';
COMMENT ON COLUMN pgml.stat_activity.application_name IS 'the client''s name';
COMMENT ON COLUMN pgml.stat_activity.client IS 'kind and version of the client';
COMMENT ON COLUMN pgml.stat_activity.door IS 'frames or http';
COMMENT ON COLUMN pgml.stat_activity.verb IS 'what is asked';
COMMENT ON COLUMN pgml.stat_activity.model IS 'of which model';
COMMENT ON COLUMN pgml.stat_activity.lane IS 'interactive, bulk or background';
COMMENT ON COLUMN pgml.stat_activity.state IS 'queued, running, fitting, waiting, waiting for input, waiting for client, …';
COMMENT ON COLUMN pgml.stat_activity.ahead IS 'requests before it in the queue';
COMMENT ON COLUMN pgml.stat_activity.rows_in IS 'rows received';
COMMENT ON COLUMN pgml.stat_activity.rows IS 'rows done';
COMMENT ON COLUMN pgml.stat_activity.progress IS 'how much of it is done, from 0 to 1; NULL where nobody knows';
COMMENT ON COLUMN pgml.stat_activity.started_at IS 'when it came';
COMMENT ON COLUMN pgml.stat_activity.deadline_at IS 'when it is given up; NULL for never';
GRANT SELECT ON pgml.stat_activity TO pgml_user, pg_monitor;

CREATE FOREIGN TABLE pgml.stat_server (
    version text,
    instance text,
    pid integer,
    state text,
    started_at timestamptz,
    connections integer,
    in_flight integer,
    requests bigint,
    errors bigint,
    cancelled bigint,
    rejected bigint,
    rows bigint,
    tokens bigint,
    models integer,
    models_loaded integer,
    memory_bytes bigint
) SERVER pgannex OPTIONS (verb 'stat_server', authorize 'pgml.authorize');
COMMENT ON FOREIGN TABLE pgml.stat_server IS
    'one row: the server as a whole';
COMMENT ON COLUMN pgml.stat_server.version IS 'version of the server';
COMMENT ON COLUMN pgml.stat_server.instance IS 'changes with every start';
COMMENT ON COLUMN pgml.stat_server.pid IS 'process id of the server';
COMMENT ON COLUMN pgml.stat_server.state IS 'ready or draining';
COMMENT ON COLUMN pgml.stat_server.started_at IS 'when it was started';
COMMENT ON COLUMN pgml.stat_server.connections IS 'open connections of the frames door';
COMMENT ON COLUMN pgml.stat_server.in_flight IS 'requests that are not answered yet, without those that read pgml.stat_*';
COMMENT ON COLUMN pgml.stat_server.requests IS 'requests so far';
COMMENT ON COLUMN pgml.stat_server.errors IS 'requests that failed';
COMMENT ON COLUMN pgml.stat_server.cancelled IS 'requests whose caller went away';
COMMENT ON COLUMN pgml.stat_server.rejected IS 'requests refused because a queue was full';
COMMENT ON COLUMN pgml.stat_server.rows IS 'rows answered';
COMMENT ON COLUMN pgml.stat_server.tokens IS 'tokens computed';
COMMENT ON COLUMN pgml.stat_server.models IS 'models that are configured';
COMMENT ON COLUMN pgml.stat_server.models_loaded IS 'models that are loaded';
COMMENT ON COLUMN pgml.stat_server.memory_bytes IS 'resident memory of the server itself, without its workers';
GRANT SELECT ON pgml.stat_server TO pgml_user, pg_monitor;
