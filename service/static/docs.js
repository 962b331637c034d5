// The description of the API, tried out with the API key of the header's form.

import { apiKey } from "./api.js";
import { checkKey } from "./key.js";
import { meetServer } from "./server.js";

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
  requestInterceptor: (request) => {
    if (apiKey.get()) request.headers.Authorization ??= `Bearer ${apiKey.get()}`;
    return request;
  },
});
void meetServer();
void checkKey();
