"""What ROOT's classes of vectors of two and three components compute; see `_coordinates`.

References:
    https://root.cern/doc/master/classTVector3.html,
    https://root.cern/doc/master/classTVector2.html,
    https://root.cern/doc/master/classROOT_1_1Math_1_1DisplacementVector3D.html
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np

from rootml.expressions._coordinates import (
    ETA_MAX,
    Numbers,
    Vector,
    eta_of_cosine,
    opposite_phi,
    pseudorapidity,
    r_from_eta,
    restricted_phi,
    theta_from_eta,
    tmath_atan2,
    z_from_eta,
)


class ThreeVector(Vector):
    """What all of them have."""

    dimension = 3

    def z(self) -> Numbers:
        return self.components[2]

    @abstractmethod
    def rho(self) -> Numbers: ...

    @abstractmethod
    def r(self) -> Numbers: ...

    @abstractmethod
    def theta(self) -> Numbers: ...

    @abstractmethod
    def eta(self) -> Numbers: ...

    def rho2(self) -> Numbers:
        return self.rho() ** 2

    def r2(self) -> Numbers:
        return self.r() ** 2

    def cos_theta(self) -> Numbers:
        return np.cos(self.theta())


class Cartesian(ThreeVector):
    """ROOT::Math::XYZVector and XYZPoint."""

    title = "ROOT::Math::XYZVector"
    members = ("fX", "fY", "fZ")

    @classmethod
    def cartesian(cls, *components: Numbers) -> Self:
        return cls(*components)

    @property
    def components(self) -> tuple[Numbers, ...]:
        return self.parts

    def rho2(self) -> Numbers:
        return self.parts[0] ** 2 + self.parts[1] ** 2

    def r2(self) -> Numbers:
        return self.rho2() + self.parts[2] ** 2

    def rho(self) -> Numbers:
        return np.sqrt(self.rho2())

    def r(self) -> Numbers:
        return np.sqrt(self.r2())

    def theta(self) -> Numbers:
        return np.arctan2(self.rho(), self.parts[2])

    def phi(self) -> Numbers:
        return np.arctan2(self.parts[1], self.parts[0])

    def eta(self) -> Numbers:
        return pseudorapidity(self.rho(), self.parts[2])


class TVector3(Cartesian):
    """fX, fY, fZ."""

    title = "TVector3"
    old = True

    def theta(self) -> Numbers:
        return tmath_atan2(self.rho(), self.parts[2])

    def phi(self) -> Numbers:
        return tmath_atan2(self.parts[1], self.parts[0])

    def cos_theta(self) -> Numbers:
        r = self.r()
        return np.where(r == 0, 1.0, self.parts[2] / r)

    def eta(self) -> Numbers:
        return eta_of_cosine(self.cos_theta(), self.parts[2])


class Polar(ThreeVector):
    """ROOT::Math::Polar3DVector."""

    title = "ROOT::Math::Polar3DVector"
    members = ("fR", "fTheta", "fPhi")

    @classmethod
    def made(cls, *parts: Numbers) -> Self:
        return cls(*parts[:2], restricted_phi(parts[2]))

    @classmethod
    def cartesian(cls, *components: Numbers) -> Self:
        whole = Cartesian(*components)
        return cls(whole.r(), whole.theta(), whole.phi())

    @property
    def components(self) -> tuple[Numbers, ...]:
        r, theta, phi = self.parts
        rho = self.rho()
        return rho * np.cos(phi), rho * np.sin(phi), r * np.cos(theta)

    def scaled(self, factor: Numbers) -> Self:
        r, theta, phi = self.parts
        back = factor < 0
        turned = np.where(back, opposite_phi(phi), phi)
        return type(self)(r * np.abs(factor), np.where(back, np.pi - theta, theta), turned)

    def rho(self) -> Numbers:
        return self.parts[0] * np.sin(self.parts[1])

    def r(self) -> Numbers:
        return self.parts[0]

    def theta(self) -> Numbers:
        return self.parts[1]

    def phi(self) -> Numbers:
        return self.parts[2]

    def eta(self) -> Numbers:
        """ROOT::Math::Impl::Eta_FromTheta."""
        r, theta, _ = self.parts
        half = np.tan(theta / 2)
        back = np.where(half > np.finfo(np.float64).max, -r - ETA_MAX, -np.log(half))
        return np.where(half == 0, r + ETA_MAX, back)


class CylindricalEta(ThreeVector):
    """ROOT::Math::RhoEtaPhiVector."""

    title = "ROOT::Math::RhoEtaPhiVector"
    members = ("fRho", "fEta", "fPhi")

    @classmethod
    def made(cls, *parts: Numbers) -> Self:
        return cls(*parts[:2], restricted_phi(parts[2]))

    @classmethod
    def cartesian(cls, *components: Numbers) -> Self:
        whole = Cartesian(*components)
        return cls(whole.rho(), whole.eta(), whole.phi())

    @property
    def components(self) -> tuple[Numbers, ...]:
        rho, eta, phi = self.parts
        return rho * np.cos(phi), rho * np.sin(phi), z_from_eta(rho, eta)

    def scaled(self, factor: Numbers) -> Self:
        rho, eta, phi = self.parts
        back, size = factor < 0, np.abs(factor)
        eta = np.where(back, -eta, eta)
        beyond = np.abs(eta) - ETA_MAX  # what is along the beam, where rho is 0
        along = ~(rho > 0) & (beyond > 0)
        stretched = np.where(along, np.sign(eta) * (beyond * size + ETA_MAX), eta)
        turned = np.where(back, opposite_phi(phi), phi)
        return type(self)(np.where(rho > 0, rho * size, rho), stretched, turned)

    def rho(self) -> Numbers:
        return self.parts[0]

    def r(self) -> Numbers:
        return r_from_eta(*self.parts[:2])

    def theta(self) -> Numbers:
        return theta_from_eta(*self.parts[:2])

    def eta(self) -> Numbers:
        return self.parts[1]

    def phi(self) -> Numbers:
        return self.parts[2]


class Cylindrical(ThreeVector):
    """ROOT::Math::RhoZPhiVector."""

    title = "ROOT::Math::RhoZPhiVector"
    members = ("fRho", "fZ", "fPhi")

    @classmethod
    def made(cls, *parts: Numbers) -> Self:
        return cls(*parts[:2], restricted_phi(parts[2]))

    @classmethod
    def cartesian(cls, *components: Numbers) -> Self:
        whole = Cartesian(*components)
        return cls(whole.rho(), components[2], whole.phi())

    @property
    def components(self) -> tuple[Numbers, ...]:
        rho, z, phi = self.parts
        return rho * np.cos(phi), rho * np.sin(phi), z

    def scaled(self, factor: Numbers) -> Self:
        rho, z, phi = self.parts
        turned = np.where(factor < 0, opposite_phi(phi), phi)
        return type(self)(rho * np.abs(factor), z * factor, turned)

    def rho(self) -> Numbers:
        return self.parts[0]

    def r2(self) -> Numbers:
        return self.parts[0] ** 2 + self.parts[1] ** 2

    def r(self) -> Numbers:
        return np.sqrt(self.r2())

    def theta(self) -> Numbers:
        rho, z, _ = self.parts
        return np.where((rho == 0) & (z == 0), 0.0, np.arctan2(rho, z))

    def eta(self) -> Numbers:
        return pseudorapidity(*self.parts[:2])

    def phi(self) -> Numbers:
        return self.parts[2]


class TwoVector(Vector):
    """What all of them have."""

    dimension = 2

    @abstractmethod
    def r(self) -> Numbers: ...

    def r2(self) -> Numbers:
        return self.r() ** 2


class Cartesian2D(TwoVector):
    """ROOT::Math::XYVector and XYPoint."""

    title = "ROOT::Math::XYVector"
    members = ("fX", "fY")

    @classmethod
    def cartesian(cls, *components: Numbers) -> Self:
        return cls(*components)

    @property
    def components(self) -> tuple[Numbers, ...]:
        return self.parts

    def r2(self) -> Numbers:
        return self.parts[0] ** 2 + self.parts[1] ** 2

    def r(self) -> Numbers:
        return np.sqrt(self.r2())

    def phi(self) -> Numbers:
        x, y = self.parts
        return np.where((x == 0) & (y == 0), 0.0, np.arctan2(y, x))


class TVector2(Cartesian2D):
    """fX, fY; its angle is in [0, 2 pi]."""

    title = "TVector2"
    old = True

    def phi(self) -> Numbers:
        return np.pi + tmath_atan2(-self.parts[1], -self.parts[0])


class Polar2D(TwoVector):
    """ROOT::Math::Polar2DVector."""

    title = "ROOT::Math::Polar2DVector"
    members = ("fR", "fPhi")

    @classmethod
    def made(cls, *parts: Numbers) -> Self:
        return cls(parts[0], restricted_phi(parts[1]))

    @classmethod
    def cartesian(cls, *components: Numbers) -> Self:
        whole = Cartesian2D(*components)
        return cls(whole.r(), whole.phi())

    @property
    def components(self) -> tuple[Numbers, ...]:
        r, phi = self.parts
        return r * np.cos(phi), r * np.sin(phi)

    def scaled(self, factor: Numbers) -> Self:
        r, phi = self.parts
        return type(self)(r * np.abs(factor), np.where(factor < 0, opposite_phi(phi), phi))

    def r(self) -> Numbers:
        return self.parts[0]

    def phi(self) -> Numbers:
        return self.parts[1]
