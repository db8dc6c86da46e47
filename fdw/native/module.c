/*
 * module.c: what happens when the library is loaded: settings and callbacks.
 *
 * The socket's path belongs to the cluster's configuration. It is no option and no user
 * setting, else anyone could point a backend at any socket.
 */
#include "annex.h"

#include <limits.h>

#include "utils/guc.h"

PG_MODULE_MAGIC;

/*
 * Without it a parallel worker that is the first to load the library refuses to give the
 * settings the values they have in the leader. Minor releases before November 2024 lack it.
 */
#ifndef GUC_ALLOW_IN_PARALLEL
#define GUC_ALLOW_IN_PARALLEL 0
#endif

extern PGDLLEXPORT void _PG_init(void);

char	   *annex_socket_path = NULL;
int			annex_socket_generation = 0;
int			annex_timeout_ms = 60000;

/* Memory that lives as long as the backend: connections and caches. */
MemoryContext
annex_memory(void)
{
	static MemoryContext context = NULL;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "pgannex", ALLOCSET_SMALL_SIZES);
	return context;
}

/* Idle connections to the old path are closed when the next scan looks for one. */
static void
socket_changed(const char *path, void *extra)
{
	(void) path;
	(void) extra;
	annex_socket_generation++;
}

void
_PG_init(void)
{
	DefineCustomStringVariable("pgannex.socket",
							   "Path of the pgannex server's unix socket.",
							   NULL,
							   &annex_socket_path,
							   ANNEX_DEFAULT_SOCKET,
							   PGC_SIGHUP,
							   GUC_SUPERUSER_ONLY | GUC_ALLOW_IN_PARALLEL,
							   NULL, socket_changed, NULL);
	DefineCustomIntVariable("pgannex.timeout",
							"Longest time an interactive request to a model may take.",
							"Zero means no limit. Bulk requests have none but statement_timeout.",
							&annex_timeout_ms,
							60000, 0, INT_MAX,
							PGC_USERSET,
							GUC_UNIT_MS | GUC_ALLOW_IN_PARALLEL,
							NULL, NULL, NULL);
	MarkGUCPrefixReserved("pgannex");
	annex_settings_init();
	annex_connections_init();
	annex_authorize_init();
}

/* frame.c's memory: `owner` is the memory context of a buffer. */
void *
frame_resize(void *owner, void *old, size_t size)
{
	if (old == NULL)
		return MemoryContextAllocHuge((MemoryContext) owner, size);
	return repalloc_huge(old, size);
}
