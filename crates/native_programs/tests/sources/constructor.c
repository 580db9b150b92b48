/* Code that runs when the object is loaded. */
#include <fcntl.h>
#include <unistd.h>
#include <sys/socket.h>
#include "cemu_def.h"

static int fd, other;

__attribute__((constructor)) static void early(void)
{
    fd = open("/etc/passwd", O_RDONLY);
#ifdef CONNECT
    other = socket(AF_INET, SOCK_STREAM, 0);
#endif
}

long long opened(struct cemu_args *args)
{
    (void)args;
    return fd >= 0 || other > 0;
}
