# One image for web, worker, beat, flower and migrate; docker-compose.yml gives each its command.

FROM python:3.11-slim AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.lock ./
RUN /opt/venv/bin/python -m pip install --require-hashes --only-binary :all: --requirement requirements.lock

FROM python:3.11-slim
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=project.settings.production
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin paywindow
WORKDIR /app
COPY --from=packages /opt/venv /opt/venv
COPY manage.py ./
COPY project ./project
COPY payments ./payments
COPY workers ./workers
COPY beat_schedules ./beat_schedules
# Collecting files connects to nothing and signs nothing; these values only let the settings load.
RUN DATABASE_URL=postgresql:///build REDIS_URL=redis://build DJANGO_SECRET_KEY=build SANDBOX_API_KEY=build \
    JWT_ALGORITHM=EdDSA JWT_JWKS_URL=https://build.invalid/ \
    python manage.py collectstatic --no-input
USER paywindow
EXPOSE 8000
ENV WEB_ADDRESS=0.0.0.0
CMD ["python", "-m", "gunicorn", "project.wsgi", "--config", "project/gunicorn.py"]
