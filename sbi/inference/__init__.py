"""What is done with a likelihood: fits, scans, impacts, limits, toys, Neyman's belts.

All of it takes a `Fittable`; nothing here knows how a likelihood is computed. Rooms, each imports
those before it only: `minimum`, `fits`, `toys`; what is made of both lies here and in `limits`.
"""

from __future__ import annotations
