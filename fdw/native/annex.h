/*
 * annex.h: what the files of the native host promise each other.
 *
 * The host reads foreign tables whose rows come from the pgannex server. It knows nothing
 * of models: table and column options say what is sent (docs/architecture.md), PROTOCOL.md
 * says how. One file per job:
 *
 *	module.c		load, settings			handler.c		the wrapper's callbacks, validator
 *	option.c		table of options		table.c			a foreign table's description, cached
 *	quals.c			inputs out of quals		plan.c			paths and plan
 *	scan.c			a scan's life			row.c			result rows into slots
 *	request.c		OPEN and its inputs		stream.c		frames out and in, waiting
 *	batch.c			rows into batches		query.c			queries run a few rows at a time
 *	source.c		where batches come from	artifact.c		NEED answered
 *	answer.c		what a frame means		convert.c		Datum <-> wire
 *	connection.c	one socket				pool.c			who uses which socket
 *	authorize.c		the gate				explain.c		EXPLAIN
 *	error.c			errors of the wire		frame.c, frame_put.c	bytes, without Postgres
 *	setting.c		settings of PostgresML	transaction.c	is a COMMIT to come?
 *
 * The functions over vectors, vector_*.c, stand apart: see vector.h.
 */
#ifndef ANNEX_H
#define ANNEX_H

#include "postgres.h"

#include "access/tupdesc.h"
#include "executor/execdesc.h"
#include "fmgr.h"
#include "foreign/fdwapi.h"
#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"
#include "tcop/dest.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "frame.h"

#define ANNEX_VERSION "0.1.0"
#define ANNEX_DEFAULT_SOCKET "/run/pgannex/pgannex.sock"
#define ANNEX_MAX_CONNECTIONS 8
#define ANNEX_BATCH_ROWS 512
#define ANNEX_BATCH_BYTES (1024 * 1024)
#define ANNEX_SILENCE_MS 10000

/* module.c */
extern char *annex_socket_path;
extern int	annex_socket_generation;
extern int	annex_timeout_ms;
extern MemoryContext annex_memory(void);

/* error.c: codes the host itself raises, and those of the server */
extern void annex_protocol_error(const char *what) __attribute__((noreturn));
extern void annex_raise(const FrameError *error) __attribute__((noreturn));
extern void annex_notice(const FrameNotice *notice);
extern char *annex_text(FrameText text);

/* convert.c: one type, both ways */
typedef enum
{
	CODEC_TEXT,					/* bytes of a text are its value */
	CODEC_FIXED,
	CODEC_FLOAT4S,
	CODEC_FLOAT8S,
	CODEC_SEND
} AnnexCodecKind;

typedef struct AnnexCodec
{
	Oid			type;
	int32		typmod;
	AnnexCodecKind kind;
	MemoryContext mcxt;			/* of the functions below */
	int16		typlen;
	bool		typbyval;
	char		typalign;
	bool		as_text;		/* encode by the output function */
	FmgrInfo	encode;			/* send or output function; fn_oid 0 until needed */
	FmgrInfo	receive;
	FmgrInfo	input;
	Oid			receive_param;
	Oid			input_param;
} AnnexCodec;

extern void annex_codec(AnnexCodec *codec, Oid type, int32 typmod);
extern Oid	annex_wire_type(Oid type, Oid *base);
extern bool annex_can_send(Oid type);
extern bool annex_can_receive(Oid type);
extern const char *annex_to_utf8(const char *text);
extern void annex_put_value(FrameBuffer *buffer, AnnexCodec *codec, Datum value);
extern Datum annex_decode(AnnexCodec *codec, FrameColumn *column, bool *isnull, const char *name);
extern int	annex_utf8_begin(void);
extern void annex_utf8_end(int saved);

/* table.c: the description of a foreign table */
typedef enum
{
	INPUT_NONE,
	INPUT_REQUIRED,
	INPUT_OPTIONAL
} AnnexInput;

typedef struct AnnexColumn
{
	char	   *name;
	char	   *wire_name;		/* UTF-8 */
	Oid			type;
	int32		typmod;
	bool		dropped;
	AnnexInput	input;
	bool		batch;			/* may be given by = ANY */
} AnnexColumn;

typedef struct AnnexStreamColumn
{
	char	   *wire_name;
	Oid			type;
} AnnexStreamColumn;

typedef struct AnnexTable
{
	Oid			relid;
	MemoryContext mcxt;
	int			refs;
	bool		valid;
	char	   *name;
	char	   *verb;
	AttrNumber	model;
	AttrNumber	query;			/* of pull or push */
	AttrNumber	ordinal;
	bool		push;
	bool		bulk;
	bool		unordered;
	char	   *authorize;
	char	   *authorize_depends;
	char	   *artifact;
	int			nstream;
	AnnexStreamColumn *stream;	/* matched by position, converted where they differ */
	bool		stream_rest;	/* further columns travel under their own names and types */
	int			natts;
	AnnexColumn *columns;		/* by attnum - 1 */
} AnnexTable;

extern AnnexTable *annex_table(Oid relid);
extern void annex_table_release(AnnexTable *table);

/* option.c */
extern void annex_check_options(List *options, Oid catalog);
extern void annex_parse_stream(const char *value, AnnexTable *table);
extern List *annex_qualified_name(const char *value, const char *option);

/* quals.c: which clauses give inputs */
typedef enum
{
	LACK_NOTHING,
	LACK_VALUE,					/* no clause at all */
	LACK_SCALAR,				/* given by = ANY, but takes = only */
	LACK_SECOND_BATCH			/* given by = ANY, but another column is the batch */
} AnnexLack;

typedef struct AnnexInputs
{
	Expr	  **values;			/* by attnum - 1; NULL where not given */
	AttrNumber	batch;			/* the one given by = ANY */
	AttrNumber	missing;
	AnnexLack	lack;
	List	   *consumed;		/* clauses that the scan makes true by itself */
	List	   *local;			/* clauses left to filter */
} AnnexInputs;

extern AttrNumber annex_input_of_clause(PlannerInfo *root, RelOptInfo *rel, AnnexTable *table,
										Expr *clause, bool *any, Expr **value);
extern void annex_find_inputs(PlannerInfo *root, RelOptInfo *rel, AnnexTable *table,
							  List *clauses, AnnexInputs *inputs);

/* plan.c: what fdw_private holds, by position */
enum
{
	PLAN_INPUTS,				/* attnums, in the order of fdw_exprs */
	PLAN_OUTPUTS,				/* attnums asked of the server */
	PLAN_STATE					/* batch attnum, missing attnum, AnnexLack */
};

extern void annex_rel_size(PlannerInfo *root, RelOptInfo *rel, Oid relid);
extern void annex_paths(PlannerInfo *root, RelOptInfo *rel, Oid relid);
extern ForeignScan *annex_plan(PlannerInfo *root, RelOptInfo *rel, Oid relid, ForeignPath *path,
							   List *tlist, List *clauses, Plan *outer);

/* connection.c, pool.c */
typedef struct AnnexConnection AnnexConnection;
struct WaitEventSet;

struct AnnexConnection
{
	pgsocket	fd;
	struct WaitEventSet *set;
	bool		wants_write;
	int			generation;
	SubTransactionId subid;
	AnnexConnection **holder;	/* who uses it; NULL while idle */
	bool		reused;			/* served a request before this one */
	bool		heard;			/* bytes have come since OPEN */
	bool		welcomed;
	uint32		window;
	uint32		max_frame;
	FrameBuffer out;
	size_t		sent;			/* bytes of `out` that left */
	bool		replayable;		/* `out` still holds all since OPEN */
	uint8	   *in;
	size_t		in_cap;
	size_t		in_at;
	size_t		in_len;
};

typedef enum
{
	IO_DONE,
	IO_AGAIN,
	IO_LOST
} AnnexIo;

extern void annex_connection_acquire(AnnexConnection **holder, SubTransactionId subid);
extern void annex_connection_open(AnnexConnection *conn);
extern void annex_connection_begin(AnnexConnection *conn, bool hello);
extern void annex_connection_reopen(AnnexConnection *conn);
extern void annex_connection_release(AnnexConnection *conn);
extern void annex_connection_close(AnnexConnection *conn);
extern AnnexIo annex_connection_flush(AnnexConnection *conn);
extern AnnexIo annex_connection_receive(AnnexConnection *conn);
extern bool annex_connection_frame(AnnexConnection *conn, FrameHeader *header,
								   const uint8 **payload);
extern bool annex_connection_wait(AnnexConnection *conn, long timeout_ms);
extern size_t annex_connection_unsent(AnnexConnection *conn);
extern void annex_connections_init(void);

/* batch.c: rows into BATCH frames */
typedef struct AnnexBatchColumn
{
	char	   *wire_name;
	Oid			wire_type;		/* as OPEN declares it */
	AnnexCodec	codec;
	uint8		encoding;
	FrameBuffer data;
	FrameBuffer nulls;			/* FIXED: one byte per row; FLOATnS: element counts */
	bool		has_nulls;
	size_t		last;			/* where the last row starts in `data` */
} AnnexBatchColumn;

typedef struct AnnexBatch
{
	int			ncols;
	AnnexBatchColumn *columns;
	uint32		nrows;
	size_t		bytes;
	size_t		bytes_before;	/* without the last row */
	MemoryContext temporary;
} AnnexBatch;

extern AnnexBatch *annex_batch(int ncols);
extern void annex_batch_column(AnnexBatch *batch, int i, const char *wire_name, Oid wire_type,
							   Oid type);
extern bool annex_batch_fits(AnnexBatch *batch, Datum *values, const bool *nulls);
extern void annex_batch_append(AnnexBatch *batch, const Datum *values, const bool *nulls);
extern bool annex_batch_full(AnnexBatch *batch, uint32 max_rows);
extern bool annex_batch_emit(AnnexBatch *batch, FrameBuffer *out, uint32 seq, bool last,
							 uint32 max_frame);

/* query.c: a query of the caller, a few rows at a time */
typedef struct AnnexQuery AnnexQuery;

extern AnnexQuery *annex_query(EState *estate, const char *text, const char *param, bool to_end);
extern TupleDesc annex_query_desc(AnnexQuery *query);
extern bool annex_query_run(AnnexQuery *query, uint64 limit, bool (*row) (void *, TupleTableSlot *),
							void *arg);
extern void annex_query_end(AnnexQuery *query);

/* stream.c: one request on the wire */
typedef struct AnnexRows
{
	struct AnnexRows *next;
	uint8		flags;
	uint32		length;
	uint8		payload[FLEXIBLE_ARRAY_MEMBER];
} AnnexRows;

typedef struct AnnexStream
{
	AnnexConnection *conn;		/* NULL before OPEN and after END */
	SubTransactionId subid;
	AnnexRows  *first;			/* ROWS parked until the executor wants them */
	AnnexRows  *last;
	uint32		next_seq;
	uint32		unanswered;
	bool		single;
	bool		push;
	bool		input_done;
	bool		ended;
	bool		feeding;		/* inside feed(): a batch is being made */
	TimestampTz deadline;		/* 0: none */
	char	   *need;			/* hash of a NEED to answer */
} AnnexStream;

/* What EXPLAIN ANALYZE shows, summed over the requests of a scan. */
typedef struct AnnexStats
{
	uint64		requests;
	uint64		batches;
	uint64		rows;
	uint64		tokens;
	uint64		queue_us;
	uint64		compute_us;
	char	   *engine;
} AnnexStats;

/* scan.c */
typedef struct AnnexScan AnnexScan;

struct AnnexScan
{
	ForeignScanState *node;
	AnnexTable *table;
	MemoryContext mcxt;			/* as long as the scan */
	MemoryContext request_mcxt; /* as long as one request */
	MemoryContextCallback cleanup;

	int			ninputs;
	AttrNumber *inputs;
	ExprState **exprs;
	Oid		   *types;			/* of the expressions */
	AnnexCodec *input_codecs;
	int			batch;			/* index of the = ANY input, -1 where none */
	int			noutputs;
	AttrNumber *outputs;
	AnnexCodec *codecs;
	FrameColumn *columns;
	bool		text_results;

	/* one request */
	bool		started;
	bool		finished;
	Datum	   *values;			/* of the inputs; for the batch one the array */
	Datum	   *elements;
	bool	   *element_nulls;
	int			nelements;
	int			next_element;
	AnnexBatch *out;
	AnnexQuery *query;
	uint32		batch_rows;		/* rows of the next batch of a pull */
	AnnexStream stream;
	AnnexRows  *current;
	uint32		current_rows;
	uint32		current_row;
	int64		position;		/* rows given to the executor */

	AnnexStats	stats;
	char	   *model;				/* last one asked for, where EXPLAIN ANALYZE looks */
};

extern void annex_begin_scan(ForeignScanState *node, int eflags);
extern TupleTableSlot *annex_iterate(ForeignScanState *node);
extern void annex_rescan(ForeignScanState *node);
extern void annex_end_scan(ForeignScanState *node);

/* row.c */
extern bool annex_next_row(AnnexScan *scan, TupleTableSlot *slot);

/* request.c */
extern bool annex_request_inputs(AnnexScan *scan);
extern void annex_request_open(AnnexScan *scan);
extern char *annex_input_text(AnnexScan *scan, AttrNumber attnum);

/* source.c */
extern void annex_source_open(AnnexScan *scan);
extern void annex_source_feed(AnnexScan *scan);
extern void annex_source_push(AnnexScan *scan);

/* stream.c */
extern void annex_stream_start(AnnexScan *scan);
extern AnnexRows *annex_stream_next(AnnexScan *scan);
extern void annex_stream_send(AnnexScan *scan);
extern void annex_stream_await_credit(AnnexScan *scan);
extern void annex_stream_drain(AnnexScan *scan);
extern void annex_stream_abandon(AnnexScan *scan);

/* answer.c */
extern bool annex_take_frames(AnnexScan *scan);

/* artifact.c */
extern void annex_artifact_send(AnnexScan *scan, const char *hash);

/* authorize.c */
extern char *annex_authorize(AnnexTable *table, const char *model);
extern void annex_authorize_init(void);
extern void annex_authorize_forget(void);

/* setting.c */
extern void annex_settings_init(void);

/* explain.c */
extern void annex_explain(ForeignScanState *node, struct ExplainState *es);

#endif
