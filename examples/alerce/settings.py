"""The two databases of the survey. Nothing else in this folder names an engine: exchange the two, and the same comes out."""

DB_CONFIG = {
    "SQL": {
        "ENGINE": "postgresql",
        "HOST": "localhost",
        "PORT": 5432,
        "USER": "survey",
        "PASSWORD": "pwd",
        "DB_NAME": "survey",
    },
    "MONGO": {
        "HOST": "localhost",
        "PORT": 27017,
        "DB_NAME": "survey",
    },
}
MODELS = ["models"]
