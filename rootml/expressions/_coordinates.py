"""What ROOT's classes of Lorentz vectors compute from the numbers that they store.

The same vector gives other answers at the edges in another class: the pseudorapidity along the
beam is +-1e11 in `TLorentzVector`, z +- 22756 in a `ROOT::Math` vector of px, py, pz, and whatever
is stored in one of pt, eta, phi. So each class computes here as its own code does. Numbers are
float64 arrays, also where ROOT computes in float.

References:
    https://root.cern/doc/master/classTLorentzVector.html,
    https://root.cern/doc/master/classROOT_1_1Math_1_1LorentzVector.html
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np

Numbers = Any
"""A float64 array; those of one vector have one shape."""

ETA_MAX = 22756.0
"""ROOT::Math adds it to z for the pseudorapidity of a vector along the beam."""
_BIG_SLOPE = np.finfo(np.float64).eps ** -0.25


def signed_root(square: Numbers) -> Numbers:
    """The root of a square that may be below zero, with its sign: masses of space-like vectors."""
    return np.where(square < 0, -np.sqrt(-square), np.sqrt(square))


def tmath_atan2(y: Numbers, x: Numbers) -> Numbers:
    """TMath::ATan2: the signs of zeros do not matter."""
    upright = np.where(y == 0, 0.0, np.where(y > 0, np.pi / 2, -np.pi / 2))
    return np.where(x != 0, np.arctan2(y, x), upright)


def pseudorapidity(rho: Numbers, z: Numbers) -> Numbers:
    """ROOT::Math::Impl::Eta_FromRhoZ."""
    slope = z / rho
    small = np.log(slope + np.sqrt(slope * slope + 1))
    large = np.where(z > 0, np.log(2 * slope + 0.5 / slope), -np.log(-2 * slope))
    inside = np.where(np.abs(slope) < _BIG_SLOPE, small, large)
    along = np.where(z == 0, 0.0, np.where(z > 0, z + ETA_MAX, z - ETA_MAX))
    return np.where(rho > 0, inside, along)


def z_from_eta(rho: Numbers, eta: Numbers) -> Numbers:
    """The component along the beam; without a transverse one eta holds it, beyond `ETA_MAX`."""
    along = np.where(eta == 0, 0.0, np.where(eta > 0, eta - ETA_MAX, eta + ETA_MAX))
    return np.where(rho > 0, rho * np.sinh(eta), along)


def r_from_eta(rho: Numbers, eta: Numbers) -> Numbers:
    """The length; see `z_from_eta`."""
    beyond = np.where(eta < -ETA_MAX, -eta - ETA_MAX, 0.0)
    along = np.where(eta > ETA_MAX, eta - ETA_MAX, beyond)
    return np.where(rho > 0, rho * np.cosh(eta), along)


def theta_from_eta(rho: Numbers, eta: Numbers) -> Numbers:
    """The polar angle; see `z_from_eta`."""
    return np.where(rho > 0, 2 * np.arctan(np.exp(-eta)), np.where(eta >= 0, 0.0, np.pi))


def opposite_phi(phi: Numbers) -> Numbers:
    """The angle of the negative vector."""
    return np.where(phi > 0, phi - np.pi, phi + np.pi)


def restricted_phi(phi: Numbers) -> Numbers:
    """The angle in (-pi, pi], as the constructors of ROOT::Math have it."""
    turned = phi - np.floor(phi / (2 * np.pi) + 0.5) * 2 * np.pi
    return np.where((phi <= -np.pi) | (phi > np.pi), turned, phi)


class Vector(ABC):
    """A vector by the numbers that its class stores.

    Attributes:
        title: The class in ROOT.
        members: Its members, in the order of `parts`.
        dimension: 2, 3 or 4.
    """

    title: ClassVar[str]
    members: ClassVar[tuple[str, ...]]
    dimension: ClassVar[int]
    old: ClassVar[bool] = False
    """Whether it is a T class, and not one of ROOT::Math."""

    def __init__(self, *parts: Numbers) -> None:
        self.parts = parts

    @classmethod
    def made(cls, *parts: Numbers) -> Self:
        """As the constructor in C++ makes it."""
        return cls(*parts)

    @classmethod
    @abstractmethod
    def cartesian(cls, *components: Numbers) -> Self:
        """From x, y, z and energy, as far as the class has them."""

    @property
    @abstractmethod
    def components(self) -> tuple[Numbers, ...]:
        """x, y, z and energy, as far as the class has them."""

    def scaled(self, factor: Numbers) -> Self:
        """The vector times a number."""
        return type(self)(*(part * factor for part in self.parts))

    @abstractmethod
    def phi(self) -> Numbers: ...

    def x(self) -> Numbers:
        return self.components[0]

    def y(self) -> Numbers:
        return self.components[1]


class FourVector(Vector):
    """What ROOT::Math::LorentzVector computes in all coordinates."""

    dimension = 4

    def z(self) -> Numbers:
        return self.components[2]

    def energy(self) -> Numbers:
        return self.components[3]

    @abstractmethod
    def pt2(self) -> Numbers: ...

    @abstractmethod
    def p(self) -> Numbers: ...

    @abstractmethod
    def eta(self) -> Numbers: ...

    @abstractmethod
    def theta(self) -> Numbers: ...

    @abstractmethod
    def m2(self) -> Numbers: ...

    @abstractmethod
    def mt2(self) -> Numbers: ...

    @abstractmethod
    def et(self) -> Numbers: ...

    def pt(self) -> Numbers:
        return np.sqrt(self.pt2())

    def rho(self) -> Numbers:
        return self.pt()

    def p2(self) -> Numbers:
        return self.p() ** 2

    def m(self) -> Numbers:
        return signed_root(self.m2())

    def mt(self) -> Numbers:
        return signed_root(self.mt2())

    def et2(self) -> Numbers:
        return self.et() ** 2

    def cos_theta(self) -> Numbers:
        return np.cos(self.theta())

    def rapidity(self) -> Numbers:
        z, energy = self.z(), self.energy()
        return 0.5 * np.log((energy + z) / (energy - z))

    def beta(self) -> Numbers:
        p, energy = self.p(), self.energy()
        return np.where(energy == 0, np.where(p * p == 0, 0.0, 1 / energy), p / energy)

    def gamma(self) -> Numbers:
        p2, e2 = self.p2(), self.energy() ** 2
        moving = np.where(e2 < p2, 0.0, 1 / np.sqrt(1 - p2 / e2))
        return np.where((self.energy() == 0) & (p2 == 0), 1.0, moving)

    def plus(self) -> Numbers:
        return self.energy() + self.z()

    def minus(self) -> Numbers:
        return self.energy() - self.z()


class _Momentum(FourVector):
    """px, py and pz, and something fourth."""

    def pt2(self) -> Numbers:
        return self.parts[0] ** 2 + self.parts[1] ** 2

    def p(self) -> Numbers:
        return np.sqrt(self.p2())

    def p2(self) -> Numbers:
        return self.pt2() + self.parts[2] ** 2

    def phi(self) -> Numbers:
        x, y = self.parts[:2]
        return np.where((x == 0) & (y == 0), 0.0, np.arctan2(y, x))

    def theta(self) -> Numbers:
        nothing = (self.parts[0] == 0) & (self.parts[1] == 0) & (self.parts[2] == 0)
        return np.where(nothing, 0.0, np.arctan2(self.pt(), self.parts[2]))

    def eta(self) -> Numbers:
        return pseudorapidity(self.pt(), self.parts[2])

    def et2(self) -> Numbers:
        pt2, z = self.pt2(), self.parts[2]
        return np.where(pt2 == 0, 0.0, self.energy() ** 2 * pt2 / (pt2 + z * z))

    def et(self) -> Numbers:
        root = np.sqrt(self.et2())
        return np.where(self.energy() < 0, -root, root)


class PxPyPzE(_Momentum):
    """ROOT::Math::PxPyPzEVector, also called XYZTVector."""

    title = "ROOT::Math::PxPyPzEVector"
    members = ("fX", "fY", "fZ", "fT")

    @classmethod
    def cartesian(cls, *components: Numbers) -> Self:
        return cls(*components)

    @property
    def components(self) -> tuple[Numbers, ...]:
        return self.parts

    def m2(self) -> Numbers:
        x, y, z, t = self.parts
        return t * t - x * x - y * y - z * z

    def mt2(self) -> Numbers:
        _, _, z, t = self.parts
        return t * t - z * z


class PxPyPzM(_Momentum):
    """ROOT::Math::PxPyPzMVector."""

    title = "ROOT::Math::PxPyPzMVector"
    members = ("fX", "fY", "fZ", "fM")

    @classmethod
    def made(cls, *parts: Numbers) -> Self:
        x, y, z, m = parts
        return cls(x, y, z, _closest_mass(cls(*parts).p(), m))

    @classmethod
    def cartesian(cls, *components: Numbers) -> Self:
        return cls(*components[:3], PxPyPzE(*components).m())

    @property
    def components(self) -> tuple[Numbers, ...]:
        e2 = self.p2() + self.m2()
        return *self.parts[:3], np.sqrt(np.where(e2 > 0, e2, 0.0))

    def m(self) -> Numbers:
        return self.parts[3]

    def m2(self) -> Numbers:
        m = self.parts[3]
        return np.where(m >= 0, m * m, -m * m)

    def mt2(self) -> Numbers:
        return self.energy() ** 2 - self.parts[2] ** 2


class TLorentzVector(PxPyPzE):
    """fP, a TVector3, and fE."""

    title = "TLorentzVector"
    old = True

    def rho(self) -> Numbers:
        return self.p()

    def m2(self) -> Numbers:
        return self.parts[3] ** 2 - self.p2()

    def phi(self) -> Numbers:
        return tmath_atan2(self.parts[1], self.parts[0])

    def theta(self) -> Numbers:
        return tmath_atan2(self.pt(), self.parts[2])

    def cos_theta(self) -> Numbers:
        p = self.p()
        return np.where(p == 0, 1.0, self.parts[2] / p)

    def eta(self) -> Numbers:
        return eta_of_cosine(self.cos_theta(), self.parts[2])

    def beta(self) -> Numbers:
        return self.p() / self.parts[3]

    def gamma(self) -> Numbers:
        return 1 / np.sqrt(1 - self.beta() ** 2)


def eta_of_cosine(cosine: Numbers, z: Numbers) -> Numbers:
    """TVector3::PseudoRapidity."""
    inside = -0.5 * np.log((1 - cosine) / (1 + cosine))
    along = np.where(z == 0, 0.0, np.where(z > 0, 1e11, -1e11))
    return np.where(cosine * cosine < 1, inside, along)


def _closest_mass(p: Numbers, mass: Numbers) -> Numbers:
    """A negative mass, which stands for a space-like vector, is at most as large as p."""
    return np.where((mass < 0) & (p * p - mass * mass < 0), -p, mass)


class _PtEtaPhi(FourVector):
    """pt, eta and phi, and something fourth."""

    @property
    def components(self) -> tuple[Numbers, ...]:
        pt, eta, phi, _ = self.parts
        return pt * np.cos(phi), pt * np.sin(phi), z_from_eta(pt, eta), self.energy()

    @abstractmethod
    def energy(self) -> Numbers: ...

    def z(self) -> Numbers:
        return z_from_eta(*self.parts[:2])

    def pt(self) -> Numbers:
        return self.parts[0]

    def pt2(self) -> Numbers:
        return self.parts[0] ** 2

    def p(self) -> Numbers:
        return r_from_eta(*self.parts[:2])

    def eta(self) -> Numbers:
        return self.parts[1]

    def phi(self) -> Numbers:
        return self.parts[2]

    def theta(self) -> Numbers:
        return theta_from_eta(*self.parts[:2])

    def et(self) -> Numbers:
        return self.energy() / np.cosh(self.parts[1])


class PtEtaPhiM(_PtEtaPhi):
    """ROOT::Math::PtEtaPhiMVector."""

    title = "ROOT::Math::PtEtaPhiMVector"
    members = ("fPt", "fEta", "fPhi", "fM")

    @classmethod
    def made(cls, *parts: Numbers) -> Self:
        pt, eta, phi, m = parts
        return cls(pt, eta, restricted_phi(phi), _closest_mass(cls(*parts).p(), m))

    @classmethod
    def cartesian(cls, *components: Numbers) -> Self:
        whole = PxPyPzE(*components)
        return cls(whole.pt(), whole.eta(), whole.phi(), whole.m())

    def scaled(self, factor: Numbers) -> Self:
        pt, eta, phi, m = self.parts
        back = factor < 0  # which leaves the energy above zero, as in ROOT
        size = np.abs(factor)
        turned = np.where(back, opposite_phi(phi), phi)
        return type(self)(pt * size, np.where(back, -eta, eta), turned, m * size)

    def energy(self) -> Numbers:
        return np.sqrt(self._e2())

    def _e2(self) -> Numbers:
        e2 = self.p2() + self.m2()
        return np.where(e2 > 0, e2, 0.0)

    def m(self) -> Numbers:
        return self.parts[3]

    def m2(self) -> Numbers:
        m = self.parts[3]
        return np.where(m >= 0, m * m, -m * m)

    def mt2(self) -> Numbers:
        return self.m2() + self.parts[0] ** 2

    def et2(self) -> Numbers:
        return 2 * self._e2() / (np.cosh(2 * self.parts[1]) + 1)


class PtEtaPhiE(_PtEtaPhi):
    """ROOT::Math::PtEtaPhiEVector."""

    title = "ROOT::Math::PtEtaPhiEVector"
    members = ("fPt", "fEta", "fPhi", "fE")

    @classmethod
    def made(cls, *parts: Numbers) -> Self:
        pt, eta, phi, energy = parts
        return cls(pt, eta, restricted_phi(phi), energy)

    @classmethod
    def cartesian(cls, *components: Numbers) -> Self:
        whole = PxPyPzE(*components)
        return cls(whole.pt(), whole.eta(), whole.phi(), components[3])

    def scaled(self, factor: Numbers) -> Self:
        pt, eta, phi, energy = self.parts
        back = factor < 0
        turned = np.where(back, opposite_phi(phi), phi)
        return type(self)(pt * np.abs(factor), np.where(back, -eta, eta), turned, energy * factor)

    def energy(self) -> Numbers:
        return self.parts[3]

    def m2(self) -> Numbers:
        return self.parts[3] ** 2 - self.p2()

    def mt2(self) -> Numbers:
        return self.parts[3] ** 2 - self.z() ** 2
