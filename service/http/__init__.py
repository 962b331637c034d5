"""Everything that knows an HTTP request: the application, its middleware, authentication, uploads and routes."""
