"""The models of this application. `dbp` and Alembic find this file by its name."""

from sqlmodel import Field, SQLModel

from db_plugins.models import schemas


class Shield(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(max_length=80)
    defense_rating: int = Field(default=10)
    material: str = Field(default="iron", max_length=40, index=True)
    enchantment: str | None = Field(default=None, max_length=200)


ShieldCreate, ShieldUpdate, ShieldRead = schemas(Shield)
