/*
 * memory.c: frame.c's memory outside of Postgres, for the programs of this folder.
 */
#include <stdio.h>
#include <stdlib.h>

#include "../frame.h"

void *
frame_resize(void *owner, void *old, size_t size)
{
	void	   *data = realloc(old, size);

	(void) owner;
	if (data == NULL)
	{
		fprintf(stderr, "out of memory: %zu bytes\n", size);
		exit(2);
	}
	return data;
}
