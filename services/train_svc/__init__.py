"""The service that owns models, their versions, and the jobs that train them."""
