/* plait_gil: one interpreter of Lua, which knows no threads, run by several at once.
 *
 * Try:  22_gil_lua
 *
 * Two scripts count and never stop, nor give anything away. A hook that Lua calls every 1000
 * instructions asks whether somebody has waited long enough and, if so, lets him have the interpreter:
 * so they take turns. A third script waits for something outside most of the time; while it does, the
 * interpreter is the others'. */
#include <lauxlib.h>
#include <lua.h>
#include <plait/plait.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { COUNTERS = 2, TURNS = 20, CALLS = 10, INSTRUCTIONS = 1000 };

static plait_gil gil;
static lua_State *interpreter; /* this and all below: under the gil */
static int started, turns[COUNTERS], calls;

static const char counting[] = "n = 0 while true do n = n + 1 end";
static const char calling[] = "for i = 1, ... do wait() end";

static bool is_enough(void)
{
    return turns[0] >= TURNS && turns[1] >= TURNS && calls == CALLS;
}

static void between_instructions(lua_State *lua, lua_Debug *unused)
{
    int *turn = *(int **)lua_getextraspace(lua);
    (void)unused;
    if (is_enough())
        luaL_error(lua, "enough");
    if (!plait_gil_should_yield(&gil))
        return;
    *turn += started == COUNTERS; /* before, there was less to share */
    plait_gil_yield(&gil);
}

/* wait(): something that blocks. */
static int wait_outside(lua_State *lua)
{
    (void)lua;
    PLAIT_GIL_RELEASED(&gil)
    usleep(2000);
    calls++;
    return 0;
}

static int count(void *arg)
{
    plait_gil_acquire(&gil, PLAIT_FOREVER);
    lua_State *lua = lua_newthread(interpreter); /* a stack of its own in the same interpreter */
    *(int **)lua_getextraspace(lua) = arg;
    lua_sethook(lua, between_instructions, LUA_MASKCOUNT, INSTRUCTIONS);
    started++;
    luaL_loadstring(lua, counting);
    lua_pcall(lua, 0, 0, 0);
    return plait_gil_release(&gil);
}

static int call(void *unused)
{
    (void)unused;
    plait_gil_acquire(&gil, PLAIT_FOREVER);
    lua_State *lua = lua_newthread(interpreter);
    luaL_loadstring(lua, calling);
    lua_pushinteger(lua, CALLS);
    lua_pcall(lua, 1, 0, 0);
    return plait_gil_release(&gil);
}

static void check(const char *what, int rc)
{
    if (rc == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, plait_strerror(rc));
    _Exit(1); /* exit would wait for the workers */
}

int main(int argc, char **argv)
{
    plait_worker worker[COUNTERS + 1];

    check("plait_init", plait_init(&argc, &argv));
    check("plait_gil_init", plait_gil_init(&gil, plait_ms(2)));
    interpreter = luaL_newstate();
    lua_register(interpreter, "wait", wait_outside);

    for (int i = 0; i < COUNTERS; i++)
        check("plait_start", plait_start(&worker[i], PLAIT_THREAD, count, &turns[i], NULL));
    check("plait_start", plait_start(&worker[COUNTERS], PLAIT_THREAD, call, NULL, NULL));
    for (int i = 0; i <= COUNTERS; i++)
        check("plait_join", plait_join(worker[i], NULL, PLAIT_FOREVER));

    printf("each script that never stops has given up %d turns and more\n", TURNS);
    printf("one as many as the other, give or take one: %s\n",
           abs(turns[0] - turns[1]) <= 1 ? "yes" : "no");
    printf("the third waited %d times outside, while they ran\n", calls);
    lua_close(interpreter);
    return 0;
}
