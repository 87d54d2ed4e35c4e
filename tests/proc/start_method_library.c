/* A library that the test of the start methods loads at run time. */
__attribute__((visibility("default"))) int library_function(void *arg);
int library_function(void *arg)
{
    *(int *)arg = 4711;
    return 11;
}
