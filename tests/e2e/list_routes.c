/* Prints the route table, for tests that go through all of it: method, path, and "open" or the
 * scope that a key must have; "ticket" when a ticket will do as well. */
#include "base/base.h"
#include "http/auth/access.h"
#include "http/routes/app.h"

#include <stdio.h>

int main(void)
{
    static const struct {
        enum cn_method method;
        const char *name;
    } method[] = {{CN_GET, "GET"}, {CN_HEAD, "HEAD"},     {CN_POST, "POST"},
                  {CN_PUT, "PUT"}, {CN_DELETE, "DELETE"}, {CN_PATCH, "PATCH"}};
    const struct cn_routes all = cn_app_routes();
    const struct cn_route *r = all.row;
    char scopes[40];

    for (size_t i = 0; i < all.n; i++)
        for (size_t k = 0; k < CN_LEN(method); k++) {
            if (!(r[i].methods & method[k].method))
                continue;
            cn_scopes_write(cn_access_scope(&r[i], method[k].method), scopes, sizeof(scopes));
            printf("%s %s %s%s\n", method[k].name, r[i].path, r[i].open ? "open" : scopes,
                   r[i].takes_ticket ? " ticket" : "");
        }
    return 0;
}
