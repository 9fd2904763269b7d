"""The settings of a Django project that keeps the results of its Celery tasks: `django-db`."""

import os

SECRET_KEY = "of the tests"  # noqa: S105
INSTALLED_APPS = ["django_celery_results"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["PLAIN_DJANGO_DATABASE"],
        "OPTIONS": {"timeout": 20},
    }
}
USE_TZ = True
