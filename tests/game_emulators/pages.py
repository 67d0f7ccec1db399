"""The shared memory pages of both games. They have the same names and begin alike; what follows
differs.
"""

from tests.game_emulators.layout import Layout

#: Bytes of a page as the bridges from Wine to Linux make it; what follows the structure is zero.
PAGE_BYTES = 2048
NAMES = ("acpmf_physics", "acpmf_graphics", "acpmf_static")

_PHYSICS = """
packetId:i gas:f brake:f fuel:f gear:i rpms:i steerAngle:f speedKmh:f velocity:f3 accG:f3
    wheelSlip:f4 wheelLoad:f4
wheelPressure:f4 wheelAngularSpeed:f4 tyreWear:f4 tyreDirtyLevel:f4 tyreCoreTemp:f4 camberRAD:f4
    suspensionTravel:f4 drs:f
tc:f heading:f pitch:f roll:f cgHeight:f carDamage:f5 numberOfTyresOut:i pitLimiterOn:i abs:f
    kersCharge:f kersInput:f
autoShifterOn:i rideHeight:f2 turboBoost:f ballast:f airDensity:f airTemp:f roadTemp:f
    localAngularVel:f3 finalFF:f
performanceMeter:f engineBrake:i ersRecoveryLevel:i ersPowerLevel:i ersHeatCharging:i
    ersIsCharging:i kersCurrentKJ:f
drsAvailable:i drsEnabled:i brakeTemp:f4 clutch:f tyreTempI:f4 tyreTempM:f4 tyreTempO:f4
    isAIControlled:i
tyreContactPoint:f12 tyreContactNormal:f12 tyreContactHeading:f12 brakeBias:f localVelocity:f3
    P2PActivations:i P2PStatus:i
currentMaxRpm:i mz:f4 fx:f4 fy:f4 slipRatio:f4 slipAngle:f4 tcInAction:i absInAction:i
    suspensionDamage:f4 tyreTemp:f4
"""
_PHYSICS_ACC = """
waterTemp:f brakePressure:f4 frontBrakeCompound:i rearBrakeCompound:i padLife:f4 discLife:f4
    ignitionOn:i starterEngineOn:i
isEngineRunning:i kerbVibration:f slipVibrations:f gVibrations:f absVibrations:f
"""
_GRAPHICS = """
packetId:i status:i session:i currentTime:w15 lastTime:w15 bestTime:w15 split:w15 completedLaps:i
    position:i iCurrentTime:i
iLastTime:i iBestTime:i sessionTimeLeft:f distanceTraveled:f isInPit:i currentSectorIndex:i
    lastSectorTime:i numberOfLaps:i
tyreCompound:w33 replayTimeMultiplier:f normalizedCarPosition:f
"""
_GRAPHICS_ACC = """
activeCars:i carCoordinates:f180 carID:i60 playerCarID:i penaltyTime:f flag:i penalty:i
    idealLineOn:i isInPitLane:i
surfaceGrip:f mandatoryPitDone:i windSpeed:f windDirection:f isSetupMenuVisible:i mainDisplayIndex:i
    secondaryDisplayIndex:i
TC:i TCCut:i EngineMap:i ABS:i fuelXLap:f rainLights:i flashingLights:i lightsStage:i
    exhaustTemperature:f wiperLV:i
driverStintTotalTimeLeft:i driverStintTimeLeft:i rainTyres:i sessionIndex:i usedFuel:f
    deltaLapTime:w15 iDeltaLapTime:i
estimatedLapTime:w15 iEstimatedLapTime:i isDeltaPositive:i iSplit:i isValidLap:i fuelEstimatedLaps:f
    trackStatus:w33
missingMandatoryPits:i Clock:f directionLightsLeft:i directionLightsRight:i GlobalYellow:i
    GlobalYellow1:i GlobalYellow2:i
GlobalYellow3:i GlobalWhite:i GlobalGreen:i GlobalChequered:i GlobalRed:i mfdTyreSet:i
    mfdFuelToAdd:f mfdTyrePressureLF:f
mfdTyrePressureRF:f mfdTyrePressureLR:f mfdTyrePressureRR:f trackGripStatus:i rainIntensity:i
    rainIntensityIn10min:i
rainIntensityIn30min:i currentTyreSet:i strategyTyreSet:i gapAhead:i gapBehind:i
"""
_GRAPHICS_AC = """
carCoordinates:f3 penaltyTime:f flag:i idealLineOn:i isInPitLane:i surfaceGrip:f mandatoryPitDone:i
    windSpeed:f
windDirection:f
"""
_STATIC = """
smVersion:w15 acVersion:w15 numberOfSessions:i numCars:i carModel:w33 track:w33 playerName:w33
    playerSurname:w33
playerNick:w33 sectorCount:i maxTorque:f maxPower:f maxRpm:i maxFuel:f suspensionMaxTravel:f4
    tyreRadius:f4 maxTurboBoost:f
deprecated_1:f deprecated_2:f penaltiesEnabled:i aidFuelRate:f aidTireRate:f aidMechanicalDamage:f
    allowTyreBlankets:i
aidStability:f aidAutoClutch:i aidAutoBlip:i hasDRS:i hasERS:i hasKERS:i kersMaxJ:f
    engineBrakeSettingsCount:i
ersPowerControllerCount:i trackSplineLength:f trackConfiguration:w33 ersMaxJ:f isTimedRace:i
    hasExtraLap:i carSkin:w33
reversedGridPositions:i PitWindowStart:i PitWindowEnd:i isOnline:i
"""

ACC_PHYSICS = Layout(_PHYSICS + _PHYSICS_ACC)
ACC_GRAPHICS = Layout(_GRAPHICS + _GRAPHICS_ACC)
ACC_STATIC = Layout(_STATIC + "dryTyresName:w33 wetTyresName:w33")

AC_PHYSICS = Layout(_PHYSICS)
AC_GRAPHICS = Layout(_GRAPHICS + _GRAPHICS_AC)
AC_STATIC = Layout(_STATIC)
