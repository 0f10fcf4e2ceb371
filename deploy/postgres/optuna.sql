-- Optuna's database, beside MLflow's: the two share table names and must never share a database.
CREATE DATABASE optuna;
