"""The forge: DATABASE_URL is all it needs.

DATABASE_URL=sqlite:///data/app.db uvicorn api:app
DATABASE_URL=postgresql://aegis:aegis@postgres:5432/aegis_db uvicorn api:app
"""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from models import Shield, ShieldCreate, ShieldRead
from sqlalchemy import text

from db_plugins import AsyncDatabase, Database
from db_plugins.fastapi import add_error_handlers, database, get_async_db, get_db, health_router

app = FastAPI(title="Forge", lifespan=database(models=[Shield]))
add_error_handlers(app)
app.include_router(health_router)

Db = Annotated[Database, Depends(get_db)]
AsyncDb = Annotated[AsyncDatabase, Depends(get_async_db)]

TEMPER = text("UPDATE shield SET defense_rating = defense_rating + :more WHERE material = :material")
LIMIT = 100


@app.post("/shields", status_code=201)
def forge_shield(shield_data: ShieldCreate, db: Db) -> dict[str, Any]:
    """A plain ``def``: FastAPI runs it in a thread, and the loop goes on."""
    with db.session() as session:
        shield = Shield(**shield_data.model_dump())
        session.add(shield)
        # Committed when the block ends, or undone if it raises.
    return {"id": shield.id, "name": shield.name}


@app.post("/async/shields", status_code=201)
async def forge_shield_async(shield_data: ShieldCreate, db: AsyncDb) -> dict[str, Any]:
    """The same, awaited."""
    async with db.session() as session:
        shield = Shield(**shield_data.model_dump())
        session.add(shield)
    return {"id": shield.id, "name": shield.name}


@app.get("/shields", response_model=list[ShieldRead])
async def list_shields(db: AsyncDb, material: str | None = None) -> Any:
    shields = db.query(Shield).order_by(Shield.name)
    return await (shields.filter(material=material) if material else shields).all()


@app.post("/temper/{material}", response_model=ShieldRead)
def temper(material: str, more: int, db: Db) -> Any:
    """SQL of one's own and a query, in one transaction: the query sees what the SQL did, and both are undone together."""
    with db.session() as session:
        session.execute(TEMPER, {"material": material, "more": more})
        strongest = db.query(Shield).filter(material=material).order_by("-defense_rating").first()
        if strongest is None:
            raise HTTPException(404, "there is no shield of this material")
        if strongest.defense_rating > LIMIT:
            raise HTTPException(409, f"{strongest.name} would break")
    return strongest
